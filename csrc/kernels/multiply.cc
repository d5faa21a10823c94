#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "binary_grad.h"

namespace adapter::kernels {

template <typename T>
void multiply(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a * b; });
}

template <typename T>
void multiply_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, int32_t /*axis*/,
                   Output& x_grad, Output& y_grad) {
  using C = Compute<T>;
  const T *a = host::in<T>(x), *b = host::in<T>(y), *g = host::in<T>(out_grad);
  const BroadcastPair pair{out_grad.shape, x.shape, y.shape};
  sum_terms<T>(ctx, pair, y.shape, y_grad, [=](int64_t k, int64_t i, int64_t) { return C(g[k]) * C(a[i]); });
  sum_terms<T>(ctx, pair, x.shape, x_grad, [=](int64_t k, int64_t, int64_t j) { return C(g[k]) * C(b[j]); });
}

ADAPTER_KERNEL("multiply", multiply, none, float, double, float16, bfloat16, int32_t, int64_t, bool)
ADAPTER_KERNEL("multiply_grad", multiply_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
