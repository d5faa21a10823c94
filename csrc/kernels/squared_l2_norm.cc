#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// Sum of squares of all elements, of shape [1].
template <typename T>
void squared_l2_norm(Context& ctx, const Tensor& x, Output& out) {
  ctx.resize(out, {1});
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const int64_t n = x.numel();
  host::launch(ctx, [=] {
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    r[0] = static_cast<T>(total);
  });
}

template <typename T>
void squared_l2_norm_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* a = host::in<T>(x);
  const T* g = host::in<T>(out_grad);
  const int64_t n = x.numel();
  host::launch(ctx, [=] {
    for (int64_t i = 0; i < n; ++i) r[i] = T(2) * a[i] * g[0];
  });
}

ADAPTER_KERNEL("squared_l2_norm", squared_l2_norm, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("squared_l2_norm_grad", squared_l2_norm_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
