// int8 x int8 -> int32, exact: what a quantized layer multiplies with. Paddle calls it matmul as well.
#include "adapter_sdk/kernel.h"
#include "matrices.h"

namespace adapter::kernels {

template <typename T>
void matmul_int8(Context& ctx, const Tensor& x, const Tensor& y, bool transpose_x, bool transpose_y, Output& out) {
  const MatrixProduct p(x.shape, y.shape, transpose_x, transpose_y);
  ctx.resize(out, p.result);
  int32_t* z = host::out<int32_t>(ctx, out);
  const T* a = host::in<T>(x);
  const T* b = host::in<T>(y);
  host::launch(ctx, [=] {
    host::parallel_for(p.batch.numel(), batch_grain(p), [&](int64_t begin, int64_t end) {
      for (int64_t l = begin; l < end; ++l) {
        const auto [i, j] = p.operands(l);
        gemm_int8(p.transpose_x, p.transpose_y, p.m, p.n, p.k, a + i * p.m * p.k, b + j * p.k * p.n, z + l * p.m * p.n);
      }
    });
  });
}

ADAPTER_KERNEL("matmul", matmul_int8, none, int8_t)

}  // namespace adapter::kernels
