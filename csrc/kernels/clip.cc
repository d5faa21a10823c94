#include <limits>
#include <type_traits>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "unary_grad.h"

namespace adapter::kernels {

// A bound outside the range of an integer dtype ("no bound") becomes the end of that range.
template <typename T>
Compute<T> bound(const Scalar& value) {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_integral_v<T>) {
    if (value.real >= static_cast<double>(Limits::max())) return Limits::max();
    if (value.real <= static_cast<double>(Limits::min())) return Limits::min();
  }
  return value.to<Compute<T>>();
}

// NaN passes.
template <typename T>
void clip(Context& ctx, const Tensor& x, const Scalar& min, const Scalar& max, Output& out) {
  using C = Compute<T>;
  const C low = bound<T>(min), high = bound<T>(max);
  if (low > high) throw InvalidArgument("min " + std::to_string(low) + " is greater than max " + std::to_string(high));
  host::unary<T, T>(ctx, x, out, [=](C v) { return v < low ? low : v > high ? high : v; });
}

template <typename T>
void clip_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const Scalar& min, const Scalar& max,
               Output& x_grad) {
  using C = Compute<T>;
  const C low = bound<T>(min), high = bound<T>(max);
  unary_grad<T>(ctx, x, out_grad, x_grad, [=](C v, C g) { return (v >= low) & (v <= high) ? g : C(0); });
}

ADAPTER_KERNEL("clip", clip, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("clip_grad", clip_grad, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
