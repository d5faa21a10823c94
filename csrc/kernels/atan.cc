#include <cmath>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "unary_grad.h"

namespace adapter::kernels {

template <typename T>
void atan(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return std::atan(v); });
}

template <typename T>
void atan_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, x, out_grad, x_grad, [](Compute<T> v, Compute<T> g) { return g / (1 + v * v); });
}

ADAPTER_KERNEL("atan", atan, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("atan_grad", atan_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
