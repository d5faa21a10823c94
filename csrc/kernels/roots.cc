// square, sqrt, rsqrt and reciprocal.
#include <cmath>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "unary_grad.h"

namespace adapter::kernels {

template <typename T>
void square(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return v * v; });
}

template <typename T>
void square_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, x, out_grad, x_grad, [](Compute<T> v, Compute<T> g) { return 2 * g * v; });
}

template <typename T>
void sqrt(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return std::sqrt(v); });
}

template <typename T>
void sqrt_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, out, out_grad, x_grad, [](Compute<T> y, Compute<T> g) { return Compute<T>(0.5) * g / y; });
}

template <typename T>
void rsqrt(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return Compute<T>(1) / std::sqrt(v); });
}

template <typename T>
void rsqrt_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, out, out_grad, x_grad,
                [](Compute<T> y, Compute<T> g) { return Compute<T>(-0.5) * g * y * y * y; });
}

template <typename T>
void reciprocal(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return Compute<T>(1) / v; });
}

template <typename T>
void reciprocal_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, out, out_grad, x_grad, [](Compute<T> y, Compute<T> g) { return -g * y * y; });
}

ADAPTER_KERNEL("square", square, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("square_grad", square_grad, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("sqrt", sqrt, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("sqrt_grad", sqrt_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("rsqrt", rsqrt, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("rsqrt_grad", rsqrt_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("reciprocal", reciprocal, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("reciprocal_grad", reciprocal_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
