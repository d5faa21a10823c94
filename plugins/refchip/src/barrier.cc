#include "barrier.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace refchip {
namespace {

// From <linux/membarrier.h>, which older toolchains lack.
constexpr int kPrivateExpedited = 1 << 3;
constexpr int kRegisterPrivateExpedited = 1 << 4;

bool membarrier(int command) noexcept {
#ifdef SYS_membarrier
  return syscall(SYS_membarrier, command, 0, 0) == 0;
#else
  static_cast<void>(command);
  return false;
#endif
}

}  // namespace

namespace detail {
const bool has_membarrier = membarrier(kRegisterPrivateExpedited) && membarrier(kPrivateExpedited);
}

void heavy_barrier() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (detail::has_membarrier) membarrier(kPrivateExpedited);
}

}  // namespace refchip
