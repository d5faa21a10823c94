#include "adapter_sdk/kernel.h"
#include "sorting.h"

namespace adapter::kernels {

// Always stable, whether asked for or not.
template <typename T>
void argsort(Context& ctx, const Tensor& x, int32_t axis, bool descending, bool /*stable*/, Output& out,
             Output& indices) {
  const int64_t length = x.shape.rank > 0 ? x.shape[x.shape.axis(axis)] : 1;
  launch_sort<T>(ctx, x, axis, length, descending, out, indices);
}

template <typename T>
void argsort_grad(Context& ctx, const Tensor& indices, const Tensor& x, const Tensor& out_grad, int32_t axis,
                  bool /*descending*/, bool /*stable*/, Output& x_grad) {
  launch_unsort<T>(ctx, x.shape, indices, out_grad, axis, x_grad);
}

ADAPTER_KERNEL("argsort", argsort, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t)
ADAPTER_KERNEL("argsort_grad", argsort_grad, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
