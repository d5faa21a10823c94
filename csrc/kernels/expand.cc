#include "adapter_sdk/kernel.h"
#include "broadcast_grad.h"
#include "copy.h"

namespace adapter::kernels {

// In `wanted`, counted from the last axis, -1 keeps the axis of x.
inline Shape expanded_shape(const Shape& x, const IntArray& wanted) {
  Shape result{};
  for (int64_t d : wanted) result.push_back(d);
  if (result.rank < x.rank) throw InvalidArgument("expand cannot drop axes of " + to_string(x));
  for (int i = 1; i <= x.rank; ++i) {
    int64_t& d = result[result.rank - i];
    const int64_t own = x[x.rank - i];
    if (d == -1) d = own;
    if (own != d && own != 1) throw InvalidArgument("cannot expand " + to_string(x) + " to " + to_string(result));
  }
  return result;
}

template <typename T>
void expand(Context& ctx, const Tensor& x, const IntArray& shape, Output& out) {
  ctx.resize(out, expanded_shape(x.shape, shape));
  gather_strided<T>(ctx, x, host::broadcast_strides(x.shape, out.shape), 0, out);
}

template <typename T>
void expand_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const IntArray& /*shape*/, Output& x_grad) {
  sum_to_shape<T>(ctx, out_grad, x.shape, x_grad);
}

ADAPTER_KERNEL("expand", expand, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t, uint8_t,
               bool)
ADAPTER_KERNEL("expand_grad", expand_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
