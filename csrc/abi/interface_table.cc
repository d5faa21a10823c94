#include "adapter_sdk/interface_table.h"

#include <cstddef>
#include <vector>

#include "abi/interface_table.h"

// X(slot): those below offset 480, which lie where the header says in every release.
#define ADAPTER_PREFIX_SLOTS(X) \
  X(initialize)                 \
  X(finalize)                   \
  X(init_device)                \
  X(set_device)                 \
  X(get_device)                 \
  X(deinit_device)              \
  X(create_stream)              \
  X(destroy_stream)             \
  X(query_stream)               \
  X(stream_add_callback)        \
  X(create_event)               \
  X(record_event)               \
  X(destroy_event)              \
  X(query_event)                \
  X(synchronize_device)         \
  X(synchronize_stream)         \
  X(synchronize_event)          \
  X(stream_wait_event)          \
  X(device_memory_allocate)     \
  X(device_memory_deallocate)   \
  X(device_memory_set)          \
  X(host_memory_allocate)       \
  X(host_memory_deallocate)     \
  X(unified_memory_allocate)    \
  X(unified_memory_deallocate)  \
  X(memory_copy_h2d)            \
  X(memory_copy_d2h)            \
  X(memory_copy_d2d)            \
  X(memory_copy_p2p)            \
  X(async_memory_copy_h2d)      \
  X(async_memory_copy_d2h)      \
  X(async_memory_copy_d2d)      \
  X(async_memory_copy_p2p)      \
  X(get_device_count)           \
  X(get_device_list)            \
  X(device_memory_stats)        \
  X(device_min_chunk_size)      \
  X(device_max_chunk_size)      \
  X(device_max_alloc_size)      \
  X(device_extra_padding_size)  \
  X(device_init_alloc_size)     \
  X(device_realloc_size)        \
  X(get_compute_capability)

// Not const: filled when Paddle mounts the library.
extern "C" {
__attribute__((visibility("default"))) AdapterInterfaceTable adapter_sdk_interface_table = {
    sizeof(AdapterInterfaceTable), 0, 0, nullptr};
}

namespace adapter::abi {

void announce_interface(const PD_DeviceInterfacePrefix& interface, const Layout& layout) {
  static auto& rows = *new std::vector<AdapterSlotRow>;  // outlives exit hooks
  rows.clear();
  const auto add = [&](const char* name, ptrdiff_t offset) {
    if (offset < 0) return;
    void* const function = *reinterpret_cast<void* const*>(reinterpret_cast<const char*>(&interface) + offset);
    rows.push_back({sizeof(AdapterSlotRow), name, function});
  };
#define ADAPTER_ADD_PREFIX(slot) add(#slot, offsetof(PD_DeviceInterfacePrefix, slot));
  ADAPTER_PREFIX_SLOTS(ADAPTER_ADD_PREFIX)
#undef ADAPTER_ADD_PREFIX
#define ADAPTER_ADD_SLOT(slot, v30, v31, v32, v33) add(#slot, layout.slot);
  ADAPTER_ABI_SLOTS(ADAPTER_ADD_SLOT)
#undef ADAPTER_ADD_SLOT
  adapter_sdk_interface_table.queries_take_card = layout.compute_capability_has_device;
  adapter_sdk_interface_table.n_rows = rows.size();
  adapter_sdk_interface_table.rows = rows.data();
}

}  // namespace adapter::abi
