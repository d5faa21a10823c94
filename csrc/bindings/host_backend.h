// The kernels' surroundings when no device is there: plain host memory, every task run at once.
// Knows nothing of Python; register_call.cpp translates.
#pragma once

#include <cstddef>
#include <memory>

#include "adapter_sdk/context.h"

namespace adapter::bindings {

// Frees memory from `allocate_bytes`.
struct FreeBytes {
  void operator()(void* bytes) const noexcept;
};
using Bytes = std::unique_ptr<void, FreeBytes>;

// 64-byte aligned memory, each byte 0xCB: what a kernel forgets to write does not look like a result.
Bytes allocate_bytes(size_t bytes);

// What `Tensor::handle` points to in this build.
struct HostTensor {
  void* external = nullptr;  // storage that the caller brought (inputs, in-place outputs)
  size_t external_bytes = 0;
  StridedLayout layout;    // of an input; of what alloc or set_layout made
  Bytes owned;             // storage that alloc made
  size_t owned_bytes = 0;  // without the guard behind it
};

class HostContext final : public Context {
 public:
  explicit HostContext(uint64_t seed) : seed_(seed) {}

  StreamHandle stream() override { return nullptr; }
  int card() override { return 0; }
  // Storage that the caller brought is kept (in place); InvalidArgument when it is too small.
  void* alloc(Output& out, DType dtype) override;
  void resize(Output& out, const Shape& shape) override { out.shape = shape; }
  void read(void* host, const Tensor& source) override;
  StridedLayout layout(const Tensor& tensor) override;
  // As in Paddle, the offset counts bytes from the start of the storage.
  void* set_layout(Output& out, const Shape& shape, const StridedLayout& layout) override;
  std::array<uint64_t, 2> random(uint64_t increment) override;

 private:
  uint64_t seed_;
  uint64_t drawn_ = 0;
};

// Throws DeviceError when the kernel wrote behind the memory that alloc gave this output.
void require_guard_intact(const Output& out);

}  // namespace adapter::bindings
