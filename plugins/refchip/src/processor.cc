// Says why the library cannot run on an old processor, before the processor says it with an illegal instruction.
#include <unistd.h>

#include <cstdlib>
#include <string>

#ifdef REFCHIP_ARCH
namespace {

// Ahead of the other initialisers of this library, which may already use the instructions in question.
__attribute__((constructor(101))) void require_processor() {
  const std::string arch = REFCHIP_ARCH;
  __builtin_cpu_init();
  const bool fits = arch != "x86-64-v3" || (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
  if (fits) return;
  const std::string message = "refchip: this library was built for " + arch +
                              " (AVX2, FMA), which this processor does not have. Rebuild it for this machine: "
                              "pip install --no-binary adapter-refchip -C cmake.define.REFCHIP_ARCH= adapter-refchip\n";
  static_cast<void>(!write(STDERR_FILENO, message.data(), message.size()));
  std::_Exit(1);
}

}  // namespace
#endif
