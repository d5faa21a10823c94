// A compiled tool for ADAPTER_CONFORM_PRELOAD: an exception from inside of the kernel that NATIVE_TOOL_KERNEL names,
// e.g. "log". Without the variable it refuses to be loaded.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "adapter_sdk/plugin_table.h"

namespace {

const char* kernel = nullptr;

int32_t interpose(void*, AdapterKernelCall* call) {
  if (call->phase == ADAPTER_PHASE_BEFORE && std::strcmp(call->row->operator_name, kernel) == 0)
    throw std::runtime_error("planted exception");
  return 0;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int32_t adapter_conform_preload(const AdapterPluginTable* table) {
  kernel = std::getenv("NATIVE_TOOL_KERNEL");
  if (kernel == nullptr) {
    std::fprintf(stderr, "NATIVE_TOOL_KERNEL names no kernel\n");
    return 1;
  }
  table->set_interposer(interpose, nullptr);
  return 0;
}
