#include "adapter_sdk/kernel.h"
#include "sorting.h"

namespace adapter::kernels {

// Always sorted, whether asked for or not.
template <typename T>
void topk(Context& ctx, const Tensor& x, const Scalar& k, int32_t axis, bool largest, bool /*sorted*/, Output& out,
          Output& indices) {
  const int64_t length = x.shape.rank > 0 ? x.shape[x.shape.axis(axis)] : 1;
  if (k.integer < 0 || k.integer > length)
    throw InvalidArgument("topk: cannot take " + std::to_string(k.integer) + " of " + std::to_string(length) +
                          " elements");
  launch_sort<T>(ctx, x, axis, k.integer, largest, out, indices);
}

template <typename T>
void topk_grad(Context& ctx, const Tensor& x, const Tensor& indices, const Tensor& out_grad, const Scalar& /*k*/,
               int32_t axis, bool /*largest*/, bool /*sorted*/, Output& x_grad) {
  launch_unsort<T>(ctx, x.shape, indices, out_grad, axis, x_grad);
}

ADAPTER_KERNEL("topk", topk, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("topk_grad", topk_grad, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
