// What a kernel asks of its surroundings: memory for outputs, its stream, its card.
#pragma once

#include "adapter_sdk/tensor.h"

namespace adapter {

using StreamHandle = void*;
using EventHandle = void*;

class Context {
 public:
  virtual ~Context() = default;

  // The stream that the kernel has to run on; never waited for by the SDK.
  virtual StreamHandle stream() = 0;
  virtual int card() = 0;

  // Gives `out` memory for its shape in `dtype` and returns the device address (NULL when it has no elements).
  // An output that shares its storage with an input (an in-place call) keeps that storage.
  // Throws OutOfMemory, and InvalidArgument when the shape is not known yet (see resize).
  virtual void* alloc(Output& out, DType dtype) = 0;

  template <typename T>
  T* alloc(Output& out) {
    return static_cast<T*>(alloc(out, dtype_of<T>));
  }

  // Sets the shape of an output that Paddle could not infer. To be called before alloc.
  virtual void resize(Output& out, const Shape& shape) = 0;

  // Copies a whole tensor to the host, wherever it lies, after everything already on the stream. Blocks.
  virtual void read(void* host, const Tensor& source) = 0;

  // Whether an input lies in host memory. Paddle moves inputs to the device, except a few small optimizer states; such
  // memory may be gone when the stream gets there, so a kernel has to read() it at once.
  virtual bool on_host(const Tensor& /*tensor*/) { return false; }

  // Layout of a tensor that may not be contiguous (only `contiguous` and `strided_copy` see such tensors).
  virtual StridedLayout layout(const Tensor& tensor) = 0;

  // Makes `out` a view with this shape and layout on the storage it already has (`strided_copy`), and returns the
  // address of its first element.
  virtual void* set_layout(Output& out, const Shape& shape, const StridedLayout& layout) = 0;

  // {seed, number} of Paddle's generator for this card, for a counter-based random stream. A non-zero `increment`
  // draws the next number, so that two calls differ.
  virtual std::array<uint64_t, 2> random(uint64_t increment) = 0;
};

// Reads a one-element tensor on the host (e.g. the bounds of `arange_tensor`). Blocks until the stream has got there.
template <typename T>
T read_scalar(Context& ctx, const Tensor& tensor) {
  if (tensor.numel() != 1 || tensor.dtype != dtype_of<T>)
    throw InvalidArgument("wanted one " + std::string(name_of(dtype_of<T>)) + ", got " + to_string(tensor.shape) + " " +
                          name_of(tensor.dtype));
  T value{};
  ctx.read(&value, tensor);
  return value;
}

}  // namespace adapter
