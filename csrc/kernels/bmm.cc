#include "adapter_sdk/kernel.h"
#include "matrices.h"

namespace adapter::kernels {

inline MatrixProduct batch_product(const Shape& x, const Shape& y) {
  if (x.rank != 3 || y.rank != 3 || x[0] != y[0])
    throw InvalidArgument("bmm needs [B, M, K] and [B, K, N], got " + to_string(x) + " and " + to_string(y));
  return {x, y, false, false};
}

template <typename T>
void bmm(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  launch_multiply<T>(ctx, batch_product(x.shape, y.shape), x, y, out);
}

template <typename T>
void bmm_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, Output& x_grad, Output& y_grad) {
  launch_multiply_grad<T>(ctx, batch_product(x.shape, y.shape), x, y, out_grad, x_grad, y_grad);
}

ADAPTER_KERNEL("bmm", bmm, same, float, double, float16, bfloat16)
ADAPTER_KERNEL("bmm_grad", bmm_grad, same, float, double, float16, bfloat16)

}  // namespace adapter::kernels
