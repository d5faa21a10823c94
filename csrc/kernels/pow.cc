#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "power.h"
#include "unary_grad.h"

namespace adapter::kernels {

template <typename T>
void pow(Context& ctx, const Tensor& x, const Scalar& factor, Output& out) {
  using C = Compute<T>;
  const C exponent = factor.to<C>();
  host::unary<T, T>(ctx, x, out, [=](C v) { return power(v, exponent); });
}

template <typename T>
void pow_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const Scalar& factor, Output& x_grad) {
  using C = Compute<T>;
  const C exponent = factor.to<C>();
  unary_grad<T>(ctx, x, out_grad, x_grad, [=](C v, C g) { return g * power_slope(v, exponent); });
}

ADAPTER_KERNEL("pow", pow, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("pow_grad", pow_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
