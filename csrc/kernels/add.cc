#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "broadcast_grad.h"

namespace adapter::kernels {

template <typename T>
void add(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a + b; });
}

template <typename T>
void add_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, int32_t /*axis*/, Output& x_grad,
              Output& y_grad) {
  // x_grad may lie in the storage of out_grad, so it comes last.
  sum_to_shape<T>(ctx, out_grad, y.shape, y_grad);
  sum_to_shape<T>(ctx, out_grad, x.shape, x_grad);
}

ADAPTER_KERNEL("add", add, none, float, double, float16, bfloat16, int32_t, int64_t, bool)
ADAPTER_KERNEL("add_grad", add_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
