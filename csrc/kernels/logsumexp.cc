#include <algorithm>
#include <cmath>
#include <limits>

#include "adapter_sdk/kernel.h"
#include "reduction.h"

namespace adapter::kernels {

inline std::vector<int64_t> widened(const std::vector<int32_t>& axes) { return {axes.begin(), axes.end()}; }

template <typename T>
void logsumexp(Context& ctx, const Tensor& x, const std::vector<int32_t>& axes, bool keep_dim, bool reduce_all,
               Output& out) {
  reduce<T, T>(ctx, x, widened(axes), keep_dim, reduce_all, out, [](auto&& fold) {
    T peak = -std::numeric_limits<T>::infinity();
    fold([&](T value) { peak = std::max(peak, value); });
    if (!std::isfinite(peak)) peak = T(0);  // infinities decide by themselves, and inf - inf is NaN
    double total = 0;
    fold([&](T value) { total += static_cast<double>(std::exp(value - peak)); });
    return static_cast<T>(peak + std::log(total));
  });
}

// x_grad = out_grad * exp(x - out)
template <typename T>
void logsumexp_grad(Context& ctx, const Tensor& x, const Tensor& out, const Tensor& out_grad,
                    const std::vector<int32_t>& axes, bool /*keep_dim*/, bool reduce_all, Output& x_grad) {
  const T* a = host::in<T>(x);
  const T* y = host::in<T>(out);
  const T* g = host::in<T>(out_grad);
  reduce_grad<T>(ctx, x.shape, widened(axes), reduce_all, x_grad,
                 [=](int64_t k, int64_t i) { return g[i] * std::exp(a[k] - y[i]); });
}

ADAPTER_KERNEL("logsumexp", logsumexp, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("logsumexp_grad", logsumexp_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
