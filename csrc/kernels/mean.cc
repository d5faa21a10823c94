#include "adapter_sdk/kernel.h"
#include "reduction.h"

namespace adapter::kernels {

// The mean of no elements is NaN.
template <typename T>
void mean_over(Context& ctx, const Tensor& x, const std::vector<int64_t>& axes, bool keep_dim, Output& out) {
  using Sum = Accumulator<T>;
  const Sum count = static_cast<Sum>(reduced_count(x.shape, axes, false));
  reduce<T, T>(ctx, x, axes, keep_dim, false, out, host::SumFold<Sum>{}, [=](Sum total) { return total / count; });
}

template <typename T>
void mean_grad_over(Context& ctx, const Tensor& x, const Tensor& out_grad, const std::vector<int64_t>& axes,
                    bool reduce_all, Output& x_grad) {
  const T* g = host::in<T>(out_grad);
  using C = Compute<T>;
  const C count = static_cast<C>(reduced_count(x.shape, axes, reduce_all));
  reduce_grad<T>(ctx, x.shape, axes, reduce_all, x_grad, [=](int64_t, int64_t i) { return C(g[i]) / count; });
}

template <typename T>
void mean(Context& ctx, const Tensor& x, const IntArray& axes, bool keep_dim, Output& out) {
  mean_over<T>(ctx, x, axes, keep_dim, out);
}

template <typename T>
void mean_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const IntArray& axes, bool /*keep_dim*/,
               bool reduce_all, Output& x_grad) {
  mean_grad_over<T>(ctx, x, out_grad, axes, reduce_all, x_grad);
}

template <typename T>
void mean_all(Context& ctx, const Tensor& x, Output& out) {
  mean_over<T>(ctx, x, {}, false, out);
}

template <typename T>
void mean_all_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  mean_grad_over<T>(ctx, x, out_grad, {}, true, x_grad);
}

ADAPTER_KERNEL("mean", mean, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("mean_grad", mean_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("mean_all", mean_all, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("mean_all_grad", mean_all_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
