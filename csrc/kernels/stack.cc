#include <cstring>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"

namespace adapter::kernels {

// `parts` equal tensors interleaved along a new axis: block (row, part) of the whole is row `row` of part `part`.
template <typename Whole, typename Part, typename Copy>
void each_block(Whole* whole, const std::vector<Part*>& parts, int64_t rows, int64_t length, Copy&& copy) {
  const int64_t n = static_cast<int64_t>(parts.size());
  copy_pieces(rows * n, length, [&](int64_t block, int64_t first, int64_t count) {
    Part* part = parts[static_cast<size_t>(block % n)];
    if (part) copy(whole + block * length + first, part + block / n * length + first, count);
  });
}

template <typename T>
void stack(Context& ctx, const TensorList& xs, int32_t axis_value, Output& out) {
  if (xs.empty()) throw InvalidArgument("stack of no tensors");
  const Shape& x = xs.front().shape;
  const int axis = axis_value < 0 ? axis_value + x.rank + 1 : axis_value;
  T* r = host::out<T>(ctx, out);
  std::vector<const T*> parts;
  for (const Tensor& t : xs) parts.push_back(host::in<T>(t));
  host::launch(ctx, [=, rows = x.product(0, axis), length = x.product(axis, x.rank)] {
    each_block(r, parts, rows, length, [&](T* whole, const T* part, int64_t n) {
      std::memcpy(whole, part, static_cast<size_t>(n) * sizeof(T));
    });
  });
}

// Takes one slice of `whole` along `axis` for each output (stack's gradient, unbind).
template <typename T>
void unstack_into(Context& ctx, const Tensor& whole, int axis, OutputList& outs) {
  Shape shape;
  for (int i = 0; i < whole.shape.rank; ++i)
    if (i != axis) shape.push_back(whole.shape[i]);
  std::vector<T*> parts;
  for (Output& out : outs) {
    if (out) ctx.resize(out, shape);
    parts.push_back(out ? host::out<T>(ctx, out) : nullptr);
  }
  const T* a = host::in<T>(whole);
  host::launch(ctx, [=, rows = shape.product(0, axis), length = shape.product(axis, shape.rank)] {
    each_block(a, parts, rows, length, [&](const T* block, T* part, int64_t n) {
      std::memcpy(part, block, static_cast<size_t>(n) * sizeof(T));
    });
  });
}

template <typename T>
void stack_grad(Context& ctx, const Tensor& out_grad, int32_t axis, OutputList& x_grads) {
  unstack_into<T>(ctx, out_grad, out_grad.shape.axis(axis), x_grads);
}

template <typename T>
void unbind(Context& ctx, const Tensor& x, int32_t axis, OutputList& outs) {
  unstack_into<T>(ctx, x, x.shape.axis(axis), outs);
}

ADAPTER_KERNEL("stack", stack, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t, int8_t, bool)
ADAPTER_KERNEL("stack_grad", stack_grad, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("unbind", unbind, none, float, double, float16, bfloat16, int32_t, int64_t, bool, int8_t, uint8_t)

}  // namespace adapter::kernels
