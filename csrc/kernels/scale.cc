#include <type_traits>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// For integers scale and bias are truncated to integers first, as in Paddle.
template <typename T>
void scale(Context& ctx, const Tensor& x, const Scalar& scale, const Scalar& bias, bool bias_after_scale, Output& out) {
  using C = Compute<T>;
  const C s = scale.to<C>(), b = bias.to<C>();
  if (bias_after_scale)
    host::unary<T, T>(ctx, x, out, [=](C v) { return s * v + b; });
  else
    host::unary<T, T>(ctx, x, out, [=](C v) { return s * (v + b); });
}

// Integers are divided towards zero.
template <typename T>
void div_scale(Context& ctx, const Tensor& x, const Scalar& scale, Output& out) {
  using C = Compute<T>;
  const C divisor = scale.to<C>();
  if constexpr (std::is_integral_v<T>) {
    if (divisor == 0) throw InvalidArgument("an integer tensor is divided by zero");
    // The smallest integer divided by -1 overflows; a product wraps.
    if (divisor == C(-1)) return adapter::kernels::scale<T>(ctx, x, scale, Scalar{}, true, out);
  }
  host::unary<T, T>(ctx, x, out, [=](C v) { return v / divisor; });
}

ADAPTER_KERNEL("scale", scale, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t, uint8_t)
ADAPTER_KERNEL("div_scale", div_scale, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
