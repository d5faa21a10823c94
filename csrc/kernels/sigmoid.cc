// sigmoid, silu, logsigmoid and tanh.
#include <algorithm>
#include <cmath>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "logistic.h"
#include "unary_grad.h"

namespace adapter::kernels {

template <typename T>
void sigmoid(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return logistic(v); });
}

template <typename T>
void sigmoid_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, out, out_grad, x_grad, [](Compute<T> y, Compute<T> g) { return g * y * (1 - y); });
}

template <typename T>
void silu(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return v * logistic(v); });
}

template <typename T>
void silu_grad(Context& ctx, const Tensor& x, const Tensor& /*out*/, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, x, out_grad, x_grad, [](Compute<T> v, Compute<T> g) { return g * silu_slope(v); });
}

// min(x, 0) - log(1 + e^-|x|) neither overflows nor cancels.
template <typename T>
void logsigmoid(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out,
                    [](Compute<T> v) { return std::min(v, Compute<T>(0)) - std::log1p(exp_of(-std::abs(v))); });
}

template <typename T>
void logsigmoid_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, x, out_grad, x_grad, [](Compute<T> v, Compute<T> g) { return g * logistic(-v); });
}

template <typename T>
void tanh(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return tanh_of(v); });
}

template <typename T>
void tanh_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, out, out_grad, x_grad, [](Compute<T> y, Compute<T> g) { return g * (1 - y * y); });
}

ADAPTER_KERNEL("sigmoid", sigmoid, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("sigmoid_grad", sigmoid_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("silu", silu, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("silu_grad", silu_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("logsigmoid", logsigmoid, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("logsigmoid_grad", logsigmoid_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("tanh", tanh, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("tanh_grad", tanh_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
