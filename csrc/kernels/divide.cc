#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "binary_grad.h"

namespace adapter::kernels {

template <typename T>
void divide(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a / b; });
}

// d(x/y)/dy = -(x/y)/y, and x/y is the saved output.
template <typename T>
void divide_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out, const Tensor& out_grad,
                 int32_t /*axis*/, Output& x_grad, Output& y_grad) {
  using C = Compute<T>;
  const T *b = host::in<T>(y), *o = host::in<T>(out), *g = host::in<T>(out_grad);
  const BroadcastPair pair{out_grad.shape, x.shape, y.shape};
  sum_terms<T>(ctx, pair, y.shape, y_grad,
               [=](int64_t k, int64_t, int64_t j) { return -C(g[k]) * (C(o[k]) / C(b[j])); });
  sum_terms<T>(ctx, pair, x.shape, x_grad, [=](int64_t k, int64_t, int64_t j) { return C(g[k]) / C(b[j]); });
}

ADAPTER_KERNEL("divide", divide, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("divide_grad", divide_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
