// sin and cos.
#include <cmath>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "unary_grad.h"

namespace adapter::kernels {

template <typename T>
void sin(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return std::sin(v); });
}

template <typename T>
void sin_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, x, out_grad, x_grad, [](Compute<T> v, Compute<T> g) { return g * std::cos(v); });
}

template <typename T>
void cos(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return std::cos(v); });
}

template <typename T>
void cos_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, x, out_grad, x_grad, [](Compute<T> v, Compute<T> g) { return -g * std::sin(v); });
}

ADAPTER_KERNEL("sin", sin, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("sin_grad", sin_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("cos", cos, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("cos_grad", cos_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
