#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "broadcast_grad.h"

namespace adapter::kernels {

template <typename T>
void subtract(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a - b; });
}

// x_grad may share its storage with out_grad, so it is computed last.
template <typename T>
void subtract_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, int32_t /*axis*/,
                   Output& x_grad, Output& y_grad) {
  sum_to_shape<T>(ctx, out_grad, y.shape, y_grad, Accumulator<T>(-1));
  sum_to_shape<T>(ctx, out_grad, x.shape, x_grad);
}

ADAPTER_KERNEL("subtract", subtract, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t)
ADAPTER_KERNEL("subtract_grad", subtract_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
