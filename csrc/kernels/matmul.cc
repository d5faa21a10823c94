#include "adapter_sdk/kernel.h"
#include "matrices.h"

namespace adapter::kernels {

template <typename T>
void matmul(Context& ctx, const Tensor& x, const Tensor& y, bool transpose_x, bool transpose_y, Output& out) {
  launch_multiply<T>(ctx, {x.shape, y.shape, transpose_x, transpose_y}, x, y, out);
}

template <typename T>
void matmul_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, bool transpose_x,
                 bool transpose_y, Output& x_grad, Output& y_grad) {
  launch_multiply_grad<T>(ctx, {x.shape, y.shape, transpose_x, transpose_y}, x, y, out_grad, x_grad, y_grad);
}

ADAPTER_KERNEL("matmul", matmul, same, float, double, float16, bfloat16)
ADAPTER_KERNEL("matmul_grad", matmul_grad, same, float, double, float16, bfloat16)

}  // namespace adapter::kernels
