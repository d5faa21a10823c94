#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "binary_grad.h"
#include "power.h"

namespace adapter::kernels {

template <typename T>
void elementwise_pow(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return power(a, b); });
}

template <typename T>
void elementwise_pow_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, Output& x_grad,
                          Output& y_grad) {
  using C = Compute<T>;
  const T *a = host::in<T>(x), *b = host::in<T>(y), *g = host::in<T>(out_grad);
  const BroadcastPair pair{out_grad.shape, x.shape, y.shape};
  sum_terms<T>(ctx, pair, y.shape, y_grad, [=](int64_t k, int64_t i, int64_t j) {
    // 0^y is constant for y > 0; at y = 0 the same is agreed upon.
    const C base = a[i], exponent = b[j];
    return base == 0 && exponent >= 0 ? C(0) : C(g[k]) * (std::log(base) * std::pow(base, exponent));
  });
  sum_terms<T>(ctx, pair, x.shape, x_grad,
               [=](int64_t k, int64_t i, int64_t j) { return static_cast<C>(C(g[k]) * power_slope<C>(a[i], b[j])); });
}

ADAPTER_KERNEL("elementwise_pow", elementwise_pow, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("elementwise_pow_grad", elementwise_pow_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
