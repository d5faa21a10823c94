// gelu, exact and in its tanh approximation, and erf.
#include <cmath>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "logistic.h"
#include "unary_grad.h"

namespace adapter::kernels {

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kTwoOverSqrtPi = 1.12837916709551257390;
constexpr double kSqrtTwoOverPi = 0.79788456080286535588;
constexpr double kCubic = 0.044715;

// The normal distribution function by erfc: 1 + erf would cancel for negative x.
template <typename T>
T normal_cdf(T x) {
  return T(0.5) * erfc_of(-x * T(kSqrtHalf));
}

template <typename T>
T gelu_slope(T x) {
  const T density = T(0.5 * kTwoOverSqrtPi * kSqrtHalf) * exp_of(T(-0.5) * x * x);
  return normal_cdf(x) + x * density;
}

// (1 + tanh(u)) / 2 is logistic(2u), which does not cancel; this is the 2u of the approximation.
template <typename T>
T doubled_argument(T x) {
  return T(2 * kSqrtTwoOverPi) * x * (1 + T(kCubic) * x * x);
}

template <typename T>
T approximate_gelu_slope(T x) {
  const T u = doubled_argument(x), s = logistic(u);
  const T argument_slope = T(2 * kSqrtTwoOverPi) * (1 + T(3 * kCubic) * x * x);
  return s * (1 + x * logistic(-u) * argument_slope);
}

template <typename T>
void gelu(Context& ctx, const Tensor& x, bool approximate, Output& out) {
  if (approximate)
    host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return v * logistic(doubled_argument(v)); });
  else
    host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return v * normal_cdf(v); });
}

template <typename T>
void gelu_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, bool approximate, Output& x_grad) {
  if (approximate)
    unary_grad<T>(ctx, x, out_grad, x_grad, [](Compute<T> v, Compute<T> g) { return g * approximate_gelu_slope(v); });
  else
    unary_grad<T>(ctx, x, out_grad, x_grad, [](Compute<T> v, Compute<T> g) { return g * gelu_slope(v); });
}

template <typename T>
void erf(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return std::erf(v); });
}

template <typename T>
void erf_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, x, out_grad, x_grad,
                [](Compute<T> v, Compute<T> g) { return g * Compute<T>(kTwoOverSqrtPi) * exp_of(-v * v); });
}

ADAPTER_KERNEL("gelu", gelu, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("gelu_grad", gelu_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("erf", erf, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("erf_grad", erf_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
