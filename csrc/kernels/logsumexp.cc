#include <algorithm>
#include <cmath>
#include <limits>

#include "adapter_sdk/kernel.h"
#include "fast_exp.h"
#include "reduction.h"

namespace adapter::kernels {

inline std::vector<int64_t> widened(const std::vector<int32_t>& axes) { return {axes.begin(), axes.end()}; }

template <typename T>
void logsumexp(Context& ctx, const Tensor& x, const std::vector<int32_t>& axes, bool keep_dim, bool reduce_all,
               Output& out) {
  using C = Compute<T>;
  using Sum = Accumulator<T>;
  ctx.resize(out, reduced_shape(x.shape, widened(axes), keep_dim, reduce_all));
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, plan = host::reduction(x.shape, widened(axes), reduce_all)] {
    host::for_each_result(plan, [&](int64_t i, auto&& fold) {
      C peak = -std::numeric_limits<C>::infinity();
      fold([&](int64_t k) { peak = std::max(peak, static_cast<C>(a[k])); });
      if (!std::isfinite(peak)) peak = C(0);  // infinities decide by themselves, and inf - inf is NaN
      Sum total = 0;
      fold([&](int64_t k) { total += static_cast<Sum>(exp_of(static_cast<C>(a[k]) - peak)); });
      r[i] = static_cast<T>(static_cast<Sum>(peak) + std::log(total));
    });
  });
}

// x_grad = out_grad * exp(x - out)
template <typename T>
void logsumexp_grad(Context& ctx, const Tensor& x, const Tensor& out, const Tensor& out_grad,
                    const std::vector<int32_t>& axes, bool /*keep_dim*/, bool reduce_all, Output& x_grad) {
  using C = Compute<T>;
  const T* a = host::in<T>(x);
  const T* y = host::in<T>(out);
  const T* g = host::in<T>(out_grad);
  reduce_grad<T>(ctx, x.shape, widened(axes), reduce_all, x_grad,
                 [=](int64_t k, int64_t i) { return C(g[i]) * exp_of(C(a[k]) - C(y[i])); });
}

ADAPTER_KERNEL("logsumexp", logsumexp, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("logsumexp_grad", logsumexp_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
