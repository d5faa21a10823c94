#include "abi/paddle_api.h"

#include <dlfcn.h>

namespace adapter::abi {
namespace {

template <typename Function>
void look_up(void* library, const char* symbol, Function& target, std::string& missing) {
  target = reinterpret_cast<Function>(dlsym(library, symbol));
  if (target == nullptr) missing += (missing.empty() ? "" : ", ") + std::string(symbol);
}

}  // namespace

std::string resolve_paddle_api() {
  // Paddle loads its libraries RTLD_LOCAL: they are in the process, but only a handle reaches them.
  void* library = dlopen("libphi_core.so", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return "libphi_core.so is not loaded in this process; a plugin is mounted by `import paddle`";
  std::string missing;
#define X(name, result, parameters) look_up(library, #name, resolved_api.name, missing);
  ADAPTER_PD_FUNCTIONS(X)
#undef X
  look_up(library, "_ZNK3phi13KernelContext6AttrAtB5cxx11Em", resolved_api.attribute_at, missing);
  look_up(library, "_ZNK3phi13KernelContext12InputRangeAtEm", resolved_api.input_range_at, missing);
  look_up(library, "_ZNK3phi13KernelContext13OutputRangeAtEm", resolved_api.output_range_at, missing);
  look_up(library, "_ZNK3phi13KernelContext7InputAtINS_11DenseTensorEEERKT_m", resolved_api.input_at, missing);
  look_up(library, "_ZN3phi13KernelContext15MutableOutputAtINS_11DenseTensorEEEPT_m", resolved_api.output_at, missing);
  look_up(library, "_ZNK3phi11DenseTensor5placeEv", resolved_api.tensor_place, missing);
  return missing.empty() ? "" : "this Paddle does not export " + missing;
}

}  // namespace adapter::abi
