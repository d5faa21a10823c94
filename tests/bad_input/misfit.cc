// A plugin on host memory, written with the SDK's headers, whose kernels do not all keep the rules.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "adapter_sdk/device.h"
#include "adapter_sdk/kernel.h"

namespace {

using namespace adapter;

// Everything is done at once, so streams and events are mere tokens.
class HostDevice final : public Device {
 public:
  int card_count() override { return 1; }
  size_t memory_bytes(int) override { return size_t{1} << 30; }
  void* allocate(int, size_t bytes) override { return std::aligned_alloc(256, (bytes + 255) / 256 * 256); }
  void deallocate(int, void* address, size_t) override { std::free(address); }
  MemoryStats memory_stats(int) override { return {size_t{1} << 30, size_t{1} << 30}; }
  size_t allocated_bytes(int) override { return 0; }
  void copy(int, CopyKind, void* dst, const void* src, size_t bytes) override { std::memcpy(dst, src, bytes); }
  void copy_peer(int, int, void* dst, const void* src, size_t bytes) override { std::memcpy(dst, src, bytes); }
  void fill(int, void* address, uint8_t value, size_t bytes) override { std::memset(address, value, bytes); }
  void copy_async(int, StreamHandle, CopyKind, void* dst, const void* src, size_t bytes) override {
    std::memcpy(dst, src, bytes);
  }
  void copy_peer_async(int, int, StreamHandle, void* dst, const void* src, size_t bytes) override {
    std::memcpy(dst, src, bytes);
  }
  StreamHandle create_stream(int) override { return new int; }
  void destroy_stream(int, StreamHandle stream) override { delete static_cast<int*>(stream); }
  bool stream_done(int, StreamHandle) override { return true; }
  void synchronize_stream(int, StreamHandle) override {}
  void add_callback(int, StreamHandle, std::function<void()> callback) override { callback(); }
  EventHandle create_event(int) override { return new int; }
  void destroy_event(int, EventHandle event) override { delete static_cast<int*>(event); }
  void record_event(int, StreamHandle, EventHandle) override {}
  bool event_done(int, EventHandle) override { return true; }
  void synchronize_event(int, EventHandle) override {}
  void wait_event(int, StreamHandle, EventHandle) override {}
  void synchronize(int) override {}
};

// The control: a kernel in order.
template <typename T>
void floor(Context& ctx, const Tensor& x, Output& out) {
  const T* in = static_cast<const T*>(x.data);
  std::transform(in, in + x.numel(), ctx.alloc<T>(out), [](T value) { return std::floor(value); });
}

template <typename T>
void floor_grad(Context& ctx, const Tensor& out_grad, Output& x_grad) {
  if (x_grad) std::fill_n(ctx.alloc<T>(x_grad), out_grad.numel(), T(0));
}

// Paddle's add has no attribute.
template <typename T>
void add(Context& ctx, const Tensor&, const Tensor&, int32_t /*axis*/, Output& out) {
  ctx.alloc<T>(out);
}

template <typename T>
void unheard_of(Context& ctx, const Tensor&, Output& out) {
  ctx.alloc<T>(out);
}

template <typename T>
void never_allocates(Context&, const Tensor&, Output&) {}

template <typename T>
void throws(Context&, const Tensor&, Output&) {
  throw InvalidArgument("this kernel is out of order");
}

ADAPTER_KERNEL("floor", floor, none, float)
ADAPTER_KERNEL("floor_grad", floor_grad, none, float)
ADAPTER_KERNEL("add", add, none, float)
ADAPTER_KERNEL("unheard_of", unheard_of, none, float)
ADAPTER_KERNEL("isnan", never_allocates, none, float)
ADAPTER_KERNEL("isinf", throws, none, float)

}  // namespace

ADAPTER_PLUGIN(HostDevice, {"misfit", "Acme", "0.1", "misfit", "host", ">=3.0,<3.4", 0, {}})
