// Operators that only rename axes. In eager mode Paddle serves them as views; the static executor wants a dense copy,
// and without a kernel it would move them, and what follows, to the CPU.
#include <algorithm>
#include <cstring>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"

namespace adapter::kernels {

template <typename T>
void copy_as(Context& ctx, const Tensor& x, const Shape& shape, Output& out) {
  ctx.resize(out, shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, n = x.numel()] { copy_all(r, a, n); });
}

// No axes: drops every axis of length 1. An axis that is longer stays.
template <typename T>
void squeeze(Context& ctx, const Tensor& x, const IntArray& axes, Output& out) {
  std::array<bool, kMaxRank> named{};
  for (int64_t axis : axes) named[static_cast<size_t>(x.shape.axis(axis))] = true;
  Shape shape;
  for (int i = 0; i < x.shape.rank; ++i)
    if (x.shape[i] != 1 || !(axes.empty() || named[static_cast<size_t>(i)])) shape.push_back(x.shape[i]);
  copy_as<T>(ctx, x, shape, out);
}

// Axes are inserted one after another, each counted in the result so far (Paddle's rule).
template <typename T>
void unsqueeze(Context& ctx, const Tensor& x, const IntArray& axes, Output& out) {
  std::vector<int64_t> dims(x.shape.begin(), x.shape.end());
  for (int64_t axis : axes) {
    const auto rank = static_cast<int64_t>(dims.size());
    if (axis < -rank - 1 || axis > rank) throw InvalidArgument("unsqueeze at axis " + std::to_string(axis));
    dims.insert(dims.begin() + (axis < 0 ? axis + rank + 1 : axis), 1);
  }
  copy_as<T>(ctx, x, Shape(dims), out);
}

template <typename T>
void flatten(Context& ctx, const Tensor& x, int32_t start_axis, int32_t stop_axis, Output& out) {
  Shape shape;
  if (x.shape.rank == 0) {
    shape.push_back(1);
  } else {
    const int start = x.shape.axis(start_axis), stop = x.shape.axis(stop_axis);
    for (int i = 0; i < start; ++i) shape.push_back(x.shape[i]);
    shape.push_back(x.shape.product(start, stop + 1));
    for (int i = stop + 1; i < x.shape.rank; ++i) shape.push_back(x.shape[i]);
  }
  copy_as<T>(ctx, x, shape, out);
}

// The gradient has the forward input's shape.
template <typename T>
void squeeze_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const IntArray& /*axes*/, Output& x_grad) {
  copy_as<T>(ctx, out_grad, x.shape, x_grad);
}

template <typename T>
void axes_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  copy_as<T>(ctx, out_grad, x.shape, x_grad);
}

ADAPTER_KERNEL("squeeze", squeeze, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, uint8_t, int8_t,
               bool)
ADAPTER_KERNEL("unsqueeze", unsqueeze, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, uint8_t,
               int8_t, bool)
ADAPTER_KERNEL("flatten", flatten, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, uint8_t, int8_t,
               bool)
ADAPTER_KERNEL("squeeze_grad", squeeze_grad, none, float, double, float16, bfloat16, int32_t, int64_t, bool)
ADAPTER_KERNEL("unsqueeze_grad", axes_grad, none, float, double, float16, bfloat16, int32_t, int64_t, bool)
ADAPTER_KERNEL("flatten_grad", axes_grad, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
