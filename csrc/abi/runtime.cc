#include "abi/runtime.h"

#include <cstring>
#include <map>
#include <mutex>
#include <type_traits>

#include "abi/guarded.h"
#include "abi/paddle_exception.h"
#include "abi/profiler.h"
#include "abi/ring_contexts.h"
#include "adapter_sdk/device.h"
#include "adapter_sdk/kernel.h"

namespace adapter::abi {
namespace {

thread_local std::string error_text;
thread_local int selected_card = 0;

// For copies and synchronisation, where errors of earlier asynchronous work surface: of a bare status Paddle reports
// only its number, so the error travels as the exception that Paddle turns into a Python one.
template <typename Work>
PD_Status raising(const char* slot, Work&& work) {
  RuntimeSpan span(slot);
  try {
    if constexpr (std::is_invocable_v<Work, RuntimeSpan&>)
      work(span);
    else
      work();
    return PD_SUCCESS;
  } catch (const Error& error) {
    set_last_error(error.what());
    throw_to_paddle(error.paddle_code(), std::string(plugin_info().name) + ": " + error.what());
  } catch (const std::exception& error) {
    set_last_error(error.what());
    throw_to_paddle(12, std::string(plugin_info().name) + ": " + error.what());
  }
}

int card_of(C_Device device) { return device->id; }

StreamHandle stream_of(int card, C_Stream stream) { return stream ? stream : default_stream(card); }

// For copies that are given to a stream.
template <typename Work>
PD_Status on_stream(const char* slot, C_Device device, C_Stream stream, size_t bytes, Work&& work) {
  return raising(slot, [&](RuntimeSpan& span) {
    if (bytes == 0) return;
    const int card = card_of(device);
    const StreamHandle on = stream_of(card, stream);
    if (span.active()) span.watch({slot, TraceKind::copy, card, on, bytes});
    work(card, on);
  });
}

// ---- device
PD_Status nothing() { return PD_SUCCESS; }
PD_Status init_device(C_Device d) {
  return guarded([&] { plugin_device().init(card_of(d)); });
}
PD_Status deinit_device(C_Device d) {
  return guarded([&] { plugin_device().shutdown(card_of(d)); });
}
PD_Status set_device(C_Device d) {
  selected_card = card_of(d);
  return guarded([] { complete_rings(); });
}
PD_Status get_device(C_Device d) {
  d->id = selected_card;
  return PD_SUCCESS;
}
PD_Status synchronize_device(C_Device d) {
  return raising("synchronize_device", [&] { plugin_device().synchronize(card_of(d)); });
}
PD_Status get_device_count(size_t* count) {
  return guarded([&] { *count = static_cast<size_t>(plugin_device().card_count()); });
}
PD_Status get_device_list(size_t* list) {
  return guarded([&] {
    for (int card = 0, n = plugin_device().card_count(); card < n; ++card) list[card] = static_cast<size_t>(card);
  });
}

// ---- streams and events
PD_Status create_stream(C_Device d, C_Stream* stream) {
  return guarded([&] { *stream = plugin_device().create_stream(card_of(d)); });
}
PD_Status destroy_stream(C_Device d, C_Stream stream) {
  return guarded([&] {
    if (stream) plugin_device().destroy_stream(card_of(d), stream);
  });
}
PD_Status query_stream(C_Device d, C_Stream stream) {
  bool done = false;
  const PD_Status status =
      guarded([&] { done = plugin_device().stream_done(card_of(d), stream_of(card_of(d), stream)); });
  return status == PD_SUCCESS && done ? PD_SUCCESS : PD_FAILED;
}
PD_Status stream_add_callback(C_Device d, C_Stream stream, C_Callback callback, void* user) {
  return guarded([&] {
    const int card = card_of(d);
    plugin_device().add_callback(card, stream_of(card, stream), [card, stream, callback, user] {
      int id = card;
      PD_Status status = PD_SUCCESS;
      callback(reinterpret_cast<C_Device>(&id), stream, user, &status);
      if (status != PD_SUCCESS) throw DeviceError("a stream callback reported status " + std::to_string(status));
    });
  });
}
PD_Status synchronize_stream(C_Device d, C_Stream stream) {
  return raising("synchronize_stream",
                 [&] { plugin_device().synchronize_stream(card_of(d), stream_of(card_of(d), stream)); });
}
PD_Status create_event(C_Device d, C_Event* event) {
  return guarded([&] { *event = plugin_device().create_event(card_of(d)); });
}
PD_Status destroy_event(C_Device d, C_Event event) {
  return guarded([&] { plugin_device().destroy_event(card_of(d), event); });
}
PD_Status record_event(C_Device d, C_Stream stream, C_Event event) {
  return raising("record_event",
                 [&] { plugin_device().record_event(card_of(d), stream_of(card_of(d), stream), event); });
}
PD_Status query_event(C_Device d, C_Event event) {
  bool done = false;
  const PD_Status status = guarded([&] { done = plugin_device().event_done(card_of(d), event); });
  return status == PD_SUCCESS && done ? PD_SUCCESS : PD_FAILED;
}
PD_Status synchronize_event(C_Device d, C_Event event) {
  return raising("synchronize_event", [&] { plugin_device().synchronize_event(card_of(d), event); });
}
PD_Status stream_wait_event(C_Device d, C_Stream stream, C_Event event) {
  return raising("stream_wait_event",
                 [&] { plugin_device().wait_event(card_of(d), stream_of(card_of(d), stream), event); });
}

// ---- memory
PD_Status allocate(C_Device d, void** address, size_t bytes) {
  return guarded([&] {
    try {
      *address = plugin_device().allocate(card_of(d), bytes ? bytes : 1);
    } catch (const OutOfMemory& error) {
      // No address and no failure is how Paddle learns of it: then it gives back what its pool holds idle, tries again,
      // and at last raises MemoryError. A failed status would be an OSError at once.
      set_last_error(error.what());
      *address = nullptr;
    }
  });
}
PD_Status deallocate(C_Device d, void* address, size_t bytes) {
  return guarded([&] { plugin_device().deallocate(card_of(d), address, bytes ? bytes : 1); });
}
PD_Status memory_set(C_Device d, void* address, unsigned char value, size_t bytes) {
  return raising("device_memory_set", [&] {
    if (bytes) plugin_device().fill(card_of(d), address, value, bytes);
  });
}
PD_Status host_allocate(C_Device d, void** address, size_t bytes) {
  return guarded([&] {
    *address = plugin_device().allocate_host(card_of(d), bytes ? bytes : 1);
    if (*address == nullptr) throw OutOfMemory("no host memory for " + std::to_string(bytes) + " bytes");
  });
}
PD_Status host_deallocate(C_Device d, void* address, size_t bytes) {
  return guarded([&] { plugin_device().deallocate_host(card_of(d), address, bytes); });
}
// By CopyKind.
constexpr const char* kCopies[] = {"memory_copy_h2d", "memory_copy_d2h", "memory_copy_d2d"};
constexpr const char* kAsyncCopies[] = {"async_memory_copy_h2d", "async_memory_copy_d2h", "async_memory_copy_d2d"};

template <CopyKind kind>
PD_Status copy(C_Device d, void* dst, const void* src, size_t bytes) {
  return raising(kCopies[static_cast<int>(kind)], [&] {
    if (bytes) plugin_device().copy(card_of(d), kind, dst, src, bytes);
  });
}
template <CopyKind kind>
PD_Status copy_async(C_Device d, C_Stream stream, void* dst, const void* src, size_t bytes) {
  const char* const slot = kAsyncCopies[static_cast<int>(kind)];
  return on_stream(slot, d, stream, bytes,
                   [&](int card, StreamHandle on) { plugin_device().copy_async(card, on, kind, dst, src, bytes); });
}
PD_Status copy_peer(C_Device dst_card, C_Device src_card, void* dst, const void* src, size_t bytes) {
  return raising("memory_copy_p2p", [&] {
    if (bytes) plugin_device().copy_peer(card_of(dst_card), card_of(src_card), dst, src, bytes);
  });
}
PD_Status copy_peer_async(C_Device dst_card, C_Device src_card, C_Stream stream, void* dst, const void* src,
                          size_t bytes) {
  return on_stream("async_memory_copy_p2p", dst_card, stream, bytes, [&](int card, StreamHandle on) {
    plugin_device().copy_peer_async(card, card_of(src_card), on, dst, src, bytes);
  });
}
PD_Status memory_stats(C_Device d, size_t* total, size_t* free) {
  return guarded([&] {
    const MemoryStats stats = plugin_device().memory_stats(card_of(d));
    *total = stats.total;
    *free = stats.free;
  });
}
template <size_t PoolPolicy::* Field>
PD_Status pool_size(C_Device d, size_t* bytes) {
  return guarded([&] { *bytes = plugin_device().pool_policy(card_of(d)).*Field; });
}

// ---- capabilities
template <size_t (Device::*Query)(int)>
PD_Status query_with_device(C_Device d, size_t* value) {
  return guarded([&] { *value = (plugin_device().*Query)(card_of(d)); });
}
template <size_t (Device::*Query)(int)>
PD_Status query_without_device(size_t* value) {
  return guarded([&] { *value = (plugin_device().*Query)(0); });
}
bool multiplies(DType dtype) {
  for (const Kernel* kernel : kernel_table())
    if (kernel->row.registration == ADAPTER_REGISTERED && kernel->row.dtype == static_cast<int32_t>(dtype) &&
        std::strcmp(kernel->row.operator_name, "matmul") == 0)
      return true;
  return false;
}
template <DType dtype>
PD_Status supports(C_Device, bool* answer) {
  return guarded([&] { *answer = plugin_device().supports(dtype) || multiplies(dtype); });
}

template <typename Function>
void set_slot(PD_DeviceInterfacePrefix* interface, short offset, Function function) {
  if (offset < 0) return;
  *reinterpret_cast<void**>(reinterpret_cast<char*>(interface) + offset) = reinterpret_cast<void*>(function);
}

void fill_prefix(PD_DeviceInterfacePrefix* i) {
  i->initialize = nothing;
  i->finalize = nothing;
  i->init_device = init_device;
  i->set_device = set_device;
  i->get_device = get_device;
  i->deinit_device = deinit_device;
  i->create_stream = create_stream;
  i->destroy_stream = destroy_stream;
  i->query_stream = query_stream;
  i->stream_add_callback = stream_add_callback;
  i->create_event = create_event;
  i->record_event = record_event;
  i->destroy_event = destroy_event;
  i->query_event = query_event;
  i->synchronize_device = synchronize_device;
  i->synchronize_stream = synchronize_stream;
  i->synchronize_event = synchronize_event;
  i->stream_wait_event = stream_wait_event;
  i->device_memory_allocate = allocate;
  i->device_memory_deallocate = deallocate;
  i->device_memory_set = memory_set;
  i->host_memory_allocate = host_allocate;
  i->host_memory_deallocate = host_deallocate;
  i->memory_copy_h2d = copy<CopyKind::host_to_device>;
  i->memory_copy_d2h = copy<CopyKind::device_to_host>;
  i->memory_copy_d2d = copy<CopyKind::device_to_device>;
  i->memory_copy_p2p = copy_peer;
  i->async_memory_copy_h2d = copy_async<CopyKind::host_to_device>;
  i->async_memory_copy_d2h = copy_async<CopyKind::device_to_host>;
  i->async_memory_copy_d2d = copy_async<CopyKind::device_to_device>;
  i->async_memory_copy_p2p = copy_peer_async;
  i->get_device_count = get_device_count;
  i->get_device_list = get_device_list;
  i->device_memory_stats = memory_stats;
  i->device_min_chunk_size = pool_size<&PoolPolicy::min_chunk>;
}

// Zero in the policy keeps Paddle's default, which it takes when the slot is NULL.
void fill_pool_policy(PD_DeviceInterfacePrefix* i) {
  const PoolPolicy policy = plugin_device().pool_policy(0);
  if (policy.max_chunk) i->device_max_chunk_size = pool_size<&PoolPolicy::max_chunk>;
  if (policy.max_allocation) i->device_max_alloc_size = pool_size<&PoolPolicy::max_allocation>;
  if (policy.extra_padding) i->device_extra_padding_size = pool_size<&PoolPolicy::extra_padding>;
  if (policy.initial_allocation) i->device_init_alloc_size = pool_size<&PoolPolicy::initial_allocation>;
  if (policy.growth) i->device_realloc_size = pool_size<&PoolPolicy::growth>;
}

// Three queries gained a device argument in 3.1.
void fill_queries(PD_DeviceInterfacePrefix* i, const Layout& layout) {
  void* capability = layout.compute_capability_has_device
                         ? reinterpret_cast<void*>(&query_with_device<&Device::compute_capability>)
                         : reinterpret_cast<void*>(&query_without_device<&Device::compute_capability>);
  i->get_compute_capability = capability;
  if (layout.compute_capability_has_device) {
    set_slot(i, layout.get_runtime_version, &query_with_device<&Device::runtime_version>);
    set_slot(i, layout.get_driver_version, &query_with_device<&Device::driver_version>);
  } else {
    set_slot(i, layout.get_runtime_version, &query_without_device<&Device::runtime_version>);
    set_slot(i, layout.get_driver_version, &query_without_device<&Device::driver_version>);
  }
  set_slot(i, layout.is_float16_supported, &supports<DType::float16>);
  set_slot(i, layout.is_bfloat16_supported, &supports<DType::bfloat16>);
}

}  // namespace

void fill_runtime(PD_DeviceInterfacePrefix* interface, const Layout& layout) {
  fill_prefix(interface);
  fill_pool_policy(interface);
  fill_queries(interface, layout);
}

int current_card() { return selected_card; }

StreamHandle default_stream(int card) {
  static std::mutex mutex;
  static auto& streams = *new std::map<int, StreamHandle>;  // outlives exit hooks
  std::lock_guard<std::mutex> lock(mutex);
  StreamHandle& stream = streams[card];
  if (stream == nullptr) stream = plugin_device().create_stream(card);
  return stream;
}

void set_last_error(const std::string& message) { error_text = message; }
const char* last_error() { return error_text.c_str(); }

}  // namespace adapter::abi
