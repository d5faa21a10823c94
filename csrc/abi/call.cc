// The frame around every kernel call: context for the kernel, counters, tools (poison, canary, interposer), errors.
#include <cxxabi.h>

#include <cstring>
#include <typeinfo>
#include <vector>

#include "abi/paddle_api.h"
#include "abi/paddle_exception.h"
#include "abi/profiler.h"
#include "abi/ring_contexts.h"
#include "abi/runtime.h"
#include "abi/stream_read.h"
#include "abi/tools.h"
#include "adapter_sdk/device.h"
#include "adapter_sdk/kernel.h"

namespace adapter {

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int i = 0; i < shape.rank; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

namespace abi {
namespace {

constexpr size_t kCanaryBytes = 256;
constexpr unsigned char kCanary = 0x5A;
constexpr unsigned char kPoison = 0xCB;

struct Guarded {
  char* canary;
  Output* output;
};

class PaddleContext final : public Context {
 public:
  PaddleContext(const void* device_context, bool in_graph)
      : device_context_(static_cast<const PD_DeviceContext*>(device_context)), in_graph_(in_graph) {}

  StreamHandle stream() override {
    if (stream_ == nullptr) {
      PD_Status status = PD_SUCCESS;
      stream_ = paddle().PD_DeviceContextGetStream(device_context_, &status);
      if (stream_ == nullptr) stream_ = default_stream(card());
    }
    return stream_;
  }
  int card() override { return current_card(); }

  void* alloc(Output& out, DType dtype) override {
    if (!out) throw InvalidArgument("the kernel allocates an output that the caller does not need");
    if (!out.shape.known())
      throw InvalidArgument("the kernel allocates an output of unknown shape " + to_string(out.shape) +
                            "; it has to call resize() first");
    out.dtype = dtype;
    auto* tensor = static_cast<PD_Tensor*>(out.handle);
    PD_Status status = PD_SUCCESS;
    const uint32_t checks = active_checks();
    const bool fresh = checks != 0 && !paddle().PD_TensorIsInitialized(tensor, &status) && out.numel() > 0;
    size_t requested = 0;  // zero: what shape and dtype need
    if (fresh && (checks & ADAPTER_CHECK_CANARY)) requested = out.nbytes() + kCanaryBytes;
    out.data = paddle().PD_DeviceContextAllocateTensor(device_context_, tensor, requested,
                                                       static_cast<PD_DataType>(dtype), &status);
    out.allocated = true;
    if (out.data == nullptr && out.numel() > 0)
      throw OutOfMemory("no memory for an output of " + std::to_string(out.nbytes()) + " bytes");
    if (fresh) prepare(out, checks);
    return out.data;
  }

  void resize(Output& out, const Shape& shape) override {
    PD_Status status = PD_SUCCESS;
    paddle().PD_TensorSetDims(static_cast<PD_Tensor*>(out.handle), shape.rank, shape.dims.data(), &status);
    out.shape = shape;
  }

  void read(void* host, const Tensor& source) override {
    if (source.numel() == 0) return;
    if (on_host(source))
      std::memcpy(host, source.data, source.nbytes());
    else
      read_after_stream(device_context_, host, source.data, source.nbytes());
  }

  bool on_host(const Tensor& tensor) override { return paddle().PD_PlaceIsHost(paddle().tensor_place(tensor.handle)); }

  StridedLayout layout(const Tensor& tensor) override {
    const auto* handle = static_cast<const PD_Tensor*>(tensor.handle);
    PD_Status status = PD_SUCCESS;
    StridedLayout layout;
    for (int i = 0; i < tensor.shape.rank; ++i)
      layout.strides.push_back(paddle().PD_TensorGetStride(handle, static_cast<size_t>(i), &status));
    layout.offset = static_cast<int64_t>(paddle().PD_TensorGetOffset(handle, &status));
    return layout;
  }

  void* set_layout(Output& out, const Shape& shape, const StridedLayout& layout) override {
    auto* handle = static_cast<PD_Tensor*>(out.handle);
    PD_Status status = PD_SUCCESS;
    paddle().PD_TensorSetDims(handle, shape.rank, shape.dims.data(), &status);
    paddle().PD_TensorSetStrides(handle, layout.strides.rank, layout.strides.dims.data(), &status);
    paddle().PD_TensorSetOffset(handle, layout.offset, &status);
    out.shape = shape;
    out.allocated = true;
    if (!paddle().PD_TensorIsInitialized(handle, &status))
      throw InvalidArgument("the output of an in-place operation on a view has no storage");
    out.dtype = static_cast<DType>(paddle().PD_TensorGetPDDataType(handle, &status));
    out.data = paddle().PD_TensorGetDataPointer(handle, &status);
    return out.data;
  }

  std::array<uint64_t, 2> random(uint64_t increment) override {
    PD_Status status = PD_SUCCESS;
    const uint64_t seed = paddle().PD_DeviceContextGetSeed(device_context_, &status);
    return {seed, increment > 0 ? paddle().PD_DeviceContextGetRandom(device_context_, &status) : 0};
  }

  CollectiveTarget ring() { return ring_target(device_context_, in_graph_, card(), stream()); }

  void verify_canaries() {
    for (const Guarded& guarded : guarded_) {
      unsigned char bytes[kCanaryBytes];
      plugin_device().synchronize_stream(card(), stream());
      plugin_device().copy(card(), CopyKind::device_to_host, bytes, guarded.canary, kCanaryBytes);
      for (size_t i = 0; i < kCanaryBytes; ++i)
        if (bytes[i] != kCanary)
          throw DeviceError("the kernel wrote out of bounds: byte " + std::to_string(i) +
                            " behind an output of shape " + to_string(guarded.output->shape) + " " +
                            name_of(guarded.output->dtype) + " was changed");
    }
  }

 private:
  void prepare(Output& out, uint32_t checks) {
    if (checks & ADAPTER_CHECK_POISON) plugin_device().fill(card(), out.data, kPoison, out.nbytes());
    if (checks & ADAPTER_CHECK_CANARY) {
      char* canary = static_cast<char*>(out.data) + out.nbytes();
      plugin_device().fill(card(), canary, kCanary, kCanaryBytes);
      guarded_.push_back({canary, &out});
    }
  }

  const PD_DeviceContext* device_context_;
  const bool in_graph_;
  StreamHandle stream_ = nullptr;
  std::vector<Guarded> guarded_;
};

}  // namespace

void read_after_stream(const void* device_context, void* host, const void* source, size_t bytes) {
  PaddleContext ctx(device_context, true);
  plugin_device().synchronize_stream(ctx.card(), ctx.stream());
  plugin_device().copy(ctx.card(), CopyKind::device_to_host, host, source, bytes);
}

CollectiveTarget ring_of_kernel(Context& ctx) {
  auto* paddle_context = dynamic_cast<PaddleContext*>(&ctx);
  if (paddle_context == nullptr) throw InvalidArgument("a collective kernel runs in Paddle only");
  return paddle_context->ring();
}

}  // namespace abi

namespace detail {

std::atomic<bool> tools_active{false};

namespace {

std::string name_of(const Kernel& kernel) {
  return std::string(kernel.row.operator_name) + "/" + adapter::name_of(static_cast<DType>(kernel.row.dtype));
}

}  // namespace

void run_call(const CallFrame& frame, Body body, Collect collect, void* arguments) {
  Kernel& kernel = *frame.kernel;
  uint64_t& calls = frame.is_static ? kernel.row.static_calls : kernel.row.eager_calls;
  __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
  abi::PaddleContext ctx(frame.device_context, frame.is_static);
  if (!tools_active.load(std::memory_order_relaxed)) {
    body(ctx, arguments);
    return;
  }
  CallTensors tensors;
  collect(tensors, arguments);
  if (abi::interpose(ADAPTER_PHASE_BEFORE, frame, ctx, tensors)) {
    for (const Output* output : tensors.outputs) require_allocated(*output);  // as body() does after a kernel
  } else {
    abi::RuntimeSpan span("launch_kernel");
    if (span.active()) span.watch({name_of(kernel), abi::TraceKind::kernel, ctx.card(), ctx.stream()});
    body(ctx, arguments);
  }
  abi::interpose(ADAPTER_PHASE_AFTER, frame, ctx, tensors);
  ctx.verify_canaries();
}

namespace {

// Paddle's allocator throws memory::allocation::BadAlloc, which derives from std::exception alone.
bool is_paddle_out_of_memory() {
  const std::type_info* type = ::abi::__cxa_current_exception_type();
  return type != nullptr && std::strstr(type->name(), "8BadAlloc") != nullptr;
}

}  // namespace

void rethrow_to_paddle(const Kernel& kernel) {
  int code = 12;
  std::string what = "an exception that is no std::exception";
  try {
    throw;
  } catch (const Error& error) {
    code = error.paddle_code();
    what = error.what();
  } catch (const std::bad_alloc& error) {
    code = 5;
    what = error.what();
  } catch (const std::exception& error) {
    if (is_paddle_out_of_memory()) code = 5;
    what = error.what();
  } catch (...) {
  }
  const std::string message = std::string(plugin_info().name) + ": kernel " + kernel.row.operator_name + " (" +
                              adapter::name_of(static_cast<DType>(kernel.row.dtype)) + "): " + what;
  abi::set_last_error(message);
  abi::throw_to_paddle(code, message);
}

}  // namespace detail
}  // namespace adapter
