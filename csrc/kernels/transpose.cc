// Needed under the static executor; in eager mode Paddle serves a transpose as a view.
#include "adapter_sdk/kernel.h"
#include "copy.h"

namespace adapter::kernels {

template <typename T>
void permute(Context& ctx, const Tensor& x, const std::vector<int>& order, Output& out) {
  const Shape own = host::contiguous_strides(x.shape);
  Shape shape, strides;
  for (int axis : order) {
    shape.push_back(x.shape[axis]);
    strides.push_back(own[axis]);
  }
  ctx.resize(out, shape);
  gather_strided<T>(ctx, x, strides, 0, out);
}

template <typename T>
void transpose(Context& ctx, const Tensor& x, const std::vector<int32_t>& perm, Output& out) {
  std::vector<int> order;
  for (int32_t axis : perm) order.push_back(x.shape.axis(axis));
  permute<T>(ctx, x, order, out);
}

template <typename T>
void transpose_grad(Context& ctx, const Tensor& out_grad, const std::vector<int32_t>& perm, Output& x_grad) {
  std::vector<int> inverse(perm.size());
  for (size_t i = 0; i < perm.size(); ++i)
    inverse[static_cast<size_t>(out_grad.shape.axis(perm[i]))] = static_cast<int>(i);
  permute<T>(ctx, out_grad, inverse, x_grad);
}

ADAPTER_KERNEL("transpose", transpose, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, uint8_t,
               int8_t, bool)
ADAPTER_KERNEL("transpose_grad", transpose_grad, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t,
               uint8_t, int8_t, bool)

}  // namespace adapter::kernels
