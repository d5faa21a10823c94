// relu and leaky_relu.
#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "unary_grad.h"

namespace adapter::kernels {

// NaN becomes 0, as in Paddle.
template <typename T>
void relu(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return v > 0 ? v : Compute<T>(0); });
}

template <typename T>
void relu_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, out, out_grad, x_grad, [](Compute<T> y, Compute<T> g) { return y > 0 ? g : Compute<T>(0); });
}

template <typename T>
void leaky_relu(Context& ctx, const Tensor& x, double alpha, Output& out) {
  using C = Compute<T>;
  const C slope = static_cast<C>(alpha);
  host::unary<T, T>(ctx, x, out, [=](C v) { return v < 0 ? slope * v : v; });
}

template <typename T>
void leaky_relu_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, double alpha, Output& x_grad) {
  using C = Compute<T>;
  const C slope = static_cast<C>(alpha);
  unary_grad<T>(ctx, x, out_grad, x_grad, [=](C v, C g) { return v < 0 ? slope * g : g; });
}

// Up to Paddle 3.2 the slope comes as a float.
template <typename T>
void leaky_relu_3_0(Context& ctx, const Tensor& x, float alpha, Output& out) {
  leaky_relu<T>(ctx, x, alpha, out);
}

template <typename T>
void leaky_relu_grad_3_0(Context& ctx, const Tensor& x, const Tensor& out_grad, float alpha, Output& x_grad) {
  leaky_relu_grad<T>(ctx, x, out_grad, alpha, x_grad);
}

ADAPTER_KERNEL("relu", relu, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("relu_grad", relu_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("leaky_relu", leaky_relu, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("leaky_relu_grad", leaky_relu_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("leaky_relu", leaky_relu_3_0, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("leaky_relu_grad", leaky_relu_grad_3_0, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
