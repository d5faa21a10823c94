// The runtime half of a native plugin: derive from Device, announce it with ADAPTER_PLUGIN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <vector>

#include "adapter_sdk/collectives.h"
#include "adapter_sdk/context.h"
#include "adapter_sdk/plugin_table.h"

namespace adapter {

enum class CopyKind : int32_t {
  host_to_device = ADAPTER_COPY_H2D,
  device_to_host = ADAPTER_COPY_D2H,
  device_to_device = ADAPTER_COPY_D2D,
};

struct MemoryStats {
  size_t total = 0;  // bytes of the card
  size_t free = 0;
};

// Sizes that steer Paddle's memory pool, in bytes. Zero keeps Paddle's own default.
struct PoolPolicy {
  size_t min_chunk = 512;
  size_t max_chunk = 0;
  size_t max_allocation = 0;
  size_t extra_padding = 0;
  size_t initial_allocation = 0;
  size_t growth = 0;
};

// Every method may throw; the SDK turns the exception into a status for Paddle and keeps its message for last_error().
// Methods are called from several threads at once. A stream belongs to the card that it was created on.
class Device {
 public:
  virtual ~Device() = default;

  virtual int card_count() = 0;
  virtual size_t memory_bytes(int card) = 0;
  virtual void init(int /*card*/) {}
  virtual void shutdown(int /*card*/) {}

  // Memory. allocate() throws OutOfMemory; `bytes` is never 0. deallocate() must not return storage to use by others
  // while work on it is pending.
  virtual void* allocate(int card, size_t bytes) = 0;
  virtual void deallocate(int card, void* address, size_t bytes) = 0;
  virtual void* allocate_host(int /*card*/, size_t bytes) { return std::aligned_alloc(64, (bytes + 63) / 64 * 64); }
  virtual void deallocate_host(int /*card*/, void* address, size_t /*bytes*/) { std::free(address); }
  virtual MemoryStats memory_stats(int card) = 0;
  virtual size_t allocated_bytes(int card) = 0;  // handed out and not yet returned, without guards and padding
  virtual PoolPolicy pool_policy(int /*card*/) { return {}; }

  // Synchronous: ordered after all work already given to the card, complete on return.
  virtual void copy(int card, CopyKind kind, void* dst, const void* src, size_t bytes) = 0;
  virtual void copy_peer(int dst_card, int src_card, void* dst, const void* src, size_t bytes) = 0;
  virtual void fill(int card, void* address, uint8_t value, size_t bytes) = 0;
  // Asynchronous: ordered on the stream. Host memory may be reused by the caller as soon as the call returns.
  virtual void copy_async(int card, StreamHandle stream, CopyKind kind, void* dst, const void* src, size_t bytes) = 0;
  virtual void copy_peer_async(int dst_card, int src_card, StreamHandle stream, void* dst, const void* src,
                               size_t bytes) = 0;

  // Streams. A NULL handle never arrives here.
  virtual StreamHandle create_stream(int card) = 0;
  virtual void destroy_stream(int card, StreamHandle stream) = 0;  // finishes pending work first
  virtual bool stream_done(int card, StreamHandle stream) = 0;
  virtual void synchronize_stream(int card, StreamHandle stream) = 0;  // throws an error of earlier work on the stream
  // Runs the callback after all earlier work on the stream and before all later, once, on any thread. The SDK times
  // kernels by it for a plugin that announces ADAPTER_FEATURE_PROFILER.
  virtual void add_callback(int card, StreamHandle stream, std::function<void()> callback) = 0;

  // Events.
  virtual EventHandle create_event(int card) = 0;
  virtual void destroy_event(int card, EventHandle event) = 0;
  virtual void record_event(int card, StreamHandle stream, EventHandle event) = 0;
  virtual bool event_done(int card, EventHandle event) = 0;  // true for an event never recorded
  virtual void synchronize_event(int card, EventHandle event) = 0;
  virtual void wait_event(int card, StreamHandle stream, EventHandle event) = 0;

  virtual void synchronize(int card) = 0;  // all streams of the card

  // Capabilities that Paddle asks for.
  virtual size_t compute_capability(int /*card*/) { return 0; }
  virtual size_t runtime_version(int /*card*/) { return 1; }
  virtual size_t driver_version(int /*card*/) { return 1; }
  // float16 and bfloat16, for AMP. A dtype with a matmul kernel is supported whatever this says.
  virtual bool supports(DType /*dtype*/) { return false; }

  // Communication between cards and processes; NULL when there is none. To be announced as
  // ADAPTER_FEATURE_COLLECTIVES.
  virtual Collectives* collectives() { return nullptr; }
};

// What ADAPTER_PLUGIN announces; becomes the exported AdapterPluginTable.
struct PluginInfo {
  const char* name;
  const char* vendor;
  const char* version;
  const char* device_type;
  const char* sub_device_type;
  const char* paddle_versions;
  uint32_t features;
  std::vector<AdapterPeak> peaks;
};

// The plugin's one device and its description; defined by ADAPTER_PLUGIN.
Device& plugin_device();
const PluginInfo& plugin_info();

}  // namespace adapter

// Announces the plugin. DeviceType is default-constructed on first use. To stand in exactly one source file.
#define ADAPTER_PLUGIN(DeviceType, ...)                                      \
  ::adapter::Device& ::adapter::plugin_device() {                            \
    static DeviceType& device = *new DeviceType(); /* outlives exit hooks */ \
    return device;                                                           \
  }                                                                          \
  const ::adapter::PluginInfo& ::adapter::plugin_info() {                    \
    static const ::adapter::PluginInfo info = __VA_ARGS__;                   \
    return info;                                                             \
  }
