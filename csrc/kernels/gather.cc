// Rows along one axis, named by a list: gather, index_select and their gradients.
#include "adapter_sdk/kernel.h"
#include "rows.h"

namespace adapter::kernels {

// The axis is replaced by the list's; a 0-D list removes it. A list may also be a column [n, 1].
inline Shape taken_shape(const Shape& x, const Shape& index, int axis) {
  if (index.rank > 1 && index.numel() != index[0])
    throw InvalidArgument("an index of shape " + to_string(index) + " is no list");
  Shape result(x.begin(), x.begin() + axis);
  if (index.rank > 0) result.push_back(index[0]);
  for (int i = axis + 1; i < x.rank; ++i) result.push_back(x[i]);
  return result;
}

template <typename T>
void gather(Context& ctx, const Tensor& x, const Tensor& index, const Scalar& axis_value, Output& out) {
  const int axis = x.shape.axis(axis_value.integer);
  ctx.resize(out, taken_shape(x.shape, index.shape, axis));
  launch_take_rows<T>(ctx, "gather", x, index, axis, out);
}

template <typename T>
void gather_grad(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& out_grad, const Scalar& axis_value,
                 Output& x_grad) {
  launch_sum_rows<T>(ctx, "gather", x.shape, index, out_grad, x.shape.axis(axis_value.integer), x_grad);
}

template <typename T>
void index_select(Context& ctx, const Tensor& x, const Tensor& index, int32_t axis_value, Output& out) {
  const int axis = x.shape.axis(axis_value);
  ctx.resize(out, taken_shape(x.shape, index.shape, axis));
  launch_take_rows<T>(ctx, "index_select", x, index, axis, out);
}

template <typename T>
void index_select_grad(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& out_grad, int32_t axis_value,
                       Output& x_grad) {
  launch_sum_rows<T>(ctx, "index_select", x.shape, index, out_grad, x.shape.axis(axis_value), x_grad);
}

ADAPTER_KERNEL("gather", gather, none, float, double, float16, bfloat16, int32_t, int64_t, bool, uint8_t, int8_t,
               int16_t)
ADAPTER_KERNEL("gather_grad", gather_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("index_select", index_select, none, float, double, float16, bfloat16, int32_t, int64_t, bool)
ADAPTER_KERNEL("index_select_grad", index_select_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
