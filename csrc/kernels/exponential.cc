// exp and log.
#include <cmath>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "fast_exp.h"
#include "unary_grad.h"

namespace adapter::kernels {

// Of whole numbers in float32, as Paddle has it.
template <typename T>
void exp(Context& ctx, const Tensor& x, Output& out) {
  if constexpr (is_floating<T>)
    host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return exp_of(v); });
  else
    host::unary<T, float>(ctx, x, out, [](T v) { return std::exp(static_cast<float>(v)); });
}

template <typename T>
void exp_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, out, out_grad, x_grad, [](Compute<T> y, Compute<T> g) { return g * y; });
}

template <typename T>
void log(Context& ctx, const Tensor& x, Output& out) {
  if constexpr (is_floating<T>)
    host::unary<T, T>(ctx, x, out, [](Compute<T> v) { return std::log(v); });
  else
    host::unary<T, float>(ctx, x, out, [](T v) { return std::log(static_cast<float>(v)); });
}

template <typename T>
void log_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, x, out_grad, x_grad, [](Compute<T> v, Compute<T> g) { return g / v; });
}

ADAPTER_KERNEL("exp", exp, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("exp_grad", exp_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("log", log, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("log_grad", log_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
