#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "axis_slices.h"

namespace adapter::kernels {

// The running sums of `count` neighbouring slices from `number` on, whose elements lie `apart` from each other.
template <typename T>
void sum_along(const T* a, T* r, const AxisSlices& slices, int64_t number, int64_t count, int64_t apart, bool exclusive,
               bool reverse) {
  using Sum = Accumulator<T>;
  Sum total[64]{};
  const int64_t start = slices.offset(number);
  for (int64_t j = 0; j < slices.length; ++j) {
    const int64_t k = start + (reverse ? slices.length - 1 - j : j) * slices.inner;
    for (int64_t i = 0; i < count; ++i) {
      const Sum before = total[i];
      total[i] += static_cast<Sum>(static_cast<Compute<T>>(a[k + i * apart]));  // `out` may be `x`
      r[k + i * apart] = static_cast<T>(exclusive ? before : total[i]);
    }
  }
}

// Running sums along an axis. `exclusive` leaves out the element itself, `reverse` starts at the end.
template <typename T>
void running_sum(Context& ctx, const Tensor& x, const Shape& shape, int64_t axis, bool exclusive, bool reverse,
                 Output& out) {
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, slices = AxisSlices(shape, axis)] {
    if (slices.length == 0) return;
    // Slices side by side make a chain of sums each, so that one need not wait for the other.
    if (slices.inner == 1) {
      constexpr int64_t group = 4;
      host::parallel_for((slices.outer + group - 1) / group, host::rows_grain(group * slices.length),
                         [&](int64_t begin, int64_t end) {
                           for (int64_t i = begin; i < end; ++i)
                             sum_along(a, r, slices, i * group, std::min(group, slices.outer - i * group),
                                       slices.length, exclusive, reverse);
                         });
      return;
    }
    constexpr int64_t group = 64;
    const int64_t groups = (slices.inner + group - 1) / group;
    host::parallel_for(slices.outer * groups, host::rows_grain(group * slices.length), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % groups * group;
        sum_along(a, r, slices, i / groups * slices.inner + first, std::min(group, slices.inner - first), int64_t{1},
                  exclusive, reverse);
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

ADAPTER_KERNEL("cumsum", cumsum, wide, float, double, float16, bfloat16, int32_t, int64_t, int8_t, uint8_t)
ADAPTER_KERNEL("cumsum_grad", cumsum_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
