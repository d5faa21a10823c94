// The one symbol that the SDK reads.
#include "adapter_sdk/plugin_table.h"

#include "abi/mount.h"
#include "abi/plugin_table.h"
#include "abi/registration.h"
#include "abi/runtime.h"
#include "abi/tools.h"
#include "adapter_sdk/device.h"
#include "adapter_sdk/kernel.h"

namespace adapter::abi {
namespace {

template <typename Number, typename Work>
Number or_minus_one(Work&& work) {
  try {
    return static_cast<Number>(work());
  } catch (const std::exception& error) {
    set_last_error(error.what());
    return -1;
  }
}

int32_t card_count() {
  return or_minus_one<int32_t>([] { return plugin_device().card_count(); });
}
int64_t memory_bytes(int32_t card) {
  return or_minus_one<int64_t>([&] { return plugin_device().memory_bytes(card); });
}
int64_t allocated_bytes(int32_t card) {
  return or_minus_one<int64_t>([&] { return plugin_device().allocated_bytes(card); });
}
size_t kernel_count() {
  drop_replaced_references();
  return kernel_table().size();
}
const AdapterKernelRow* kernel_at(size_t index) {
  return index < kernel_table().size() ? &kernel_table()[index]->row : nullptr;
}
int32_t copy(int32_t card, int32_t kind, void* dst, const void* src, size_t bytes) {
  return or_minus_one<int32_t>([&] {
    plugin_device().copy(card, static_cast<CopyKind>(kind), dst, src, bytes);
    return 0;
  });
}
int32_t synchronize(int32_t card) {
  return or_minus_one<int32_t>([&] {
    plugin_device().synchronize(card);
    return 0;
  });
}

AdapterPluginTable make_table() {
  const PluginInfo& info = plugin_info();
  AdapterPluginTable table{};
  table.struct_size = sizeof table;
  table.contract_major = ADAPTER_CONTRACT_MAJOR;
  table.contract_minor = ADAPTER_CONTRACT_MINOR;
  table.features = info.features;
  table.name = info.name;
  table.vendor = info.vendor;
  table.version = info.version;
  table.device_type = info.device_type;
  table.sub_device_type = info.sub_device_type;
  table.paddle_versions = info.paddle_versions;
  table.sdk_version = ADAPTER_SDK_VERSION;
  table.peaks = info.peaks.data();
  table.n_peaks = info.peaks.size();
  table.card_count = card_count;
  table.memory_bytes = memory_bytes;
  table.kernel_count = kernel_count;
  table.kernel_at = kernel_at;
  table.mount_state = [] { return static_cast<int32_t>(mount_state()); };
  table.mount_message = mount_message;
  table.last_error = last_error;
  table.set_checks = set_checks;
  table.set_interposer = set_interposer;
  table.copy = copy;
  table.synchronize = synchronize;
  table.allocated_bytes = allocated_bytes;
  return table;
}

}  // namespace
}  // namespace adapter::abi

// Not const: a plugin written in Python is known only after its hooks have been called.
extern "C" {
__attribute__((visibility("default"))) AdapterPluginTable adapter_sdk_plugin_table = adapter::abi::make_table();
}

void adapter::abi::announce_plugin_table() { adapter_sdk_plugin_table = make_table(); }
