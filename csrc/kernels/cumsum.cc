#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "axis_slices.h"

namespace adapter::kernels {

// Running sums along an axis. `exclusive` leaves out the element itself, `reverse` starts at the end.
template <typename T>
void running_sum(Context& ctx, const Tensor& x, const Shape& shape, int64_t axis, bool exclusive, bool reverse,
                 Output& out) {
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, slices = AxisSlices(shape, axis)] {
    slices.each([&](int64_t, int64_t offset) {
      Accumulator<T> total{};
      for (int64_t j = 0; j < slices.length; ++j) {
        const int64_t k = offset + (reverse ? slices.length - 1 - j : j) * slices.inner;
        const T value = a[k];  // `out` may be `x`
        if (exclusive) r[k] = static_cast<T>(total);
        total += static_cast<Accumulator<T>>(value);
        if (!exclusive) r[k] = static_cast<T>(total);
      }
    });
  });
}

template <typename T>
void cumsum(Context& ctx, const Tensor& x, const Scalar& axis, bool flatten, bool exclusive, bool reverse,
            Output& out) {
  const Shape shape = flatten ? Shape{x.numel()} : x.shape;
  ctx.resize(out, shape);
  running_sum<T>(ctx, x, shape, flatten ? 0 : axis.integer, exclusive, reverse, out);
}

// The gradient of a running sum is the running sum from the other end.
template <typename T>
void cumsum_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const Scalar& axis, bool flatten,
                 bool exclusive, bool reverse, Output& x_grad) {
  const Shape shape = flatten ? Shape{x.numel()} : x.shape;
  ctx.resize(x_grad, x.shape);
  running_sum<T>(ctx, out_grad, shape, flatten ? 0 : axis.integer, exclusive, !reverse, x_grad);
}

ADAPTER_KERNEL("cumsum", cumsum, wide, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("cumsum_grad", cumsum_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
