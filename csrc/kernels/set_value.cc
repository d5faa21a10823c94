// x[slices] = value, out of place (the static executor, and in-place calls where out is x).
#include <algorithm>
#include <cstring>
#include <memory>

#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "copy.h"
#include "slices.h"

namespace adapter::kernels {

// Strides with which a value of shape `value` is read over the selection. It broadcasts to the selection as the user
// sees it: without the axes that an integer selected (`dropped`), with the axes that None added.
inline Shape value_strides(Shape value, const StridedSelection& part, const std::vector<int64_t>& dropped,
                           const std::vector<int64_t>& none_axes) {
  std::vector<int> seen;  // axes of the selection as the user sees them; -1 for one that None added
  for (int i = 0; i < part.shape.rank; ++i)
    if (std::find(dropped.begin(), dropped.end(), i) == dropped.end()) seen.push_back(i);
  for (int64_t axis : none_axes) seen.insert(seen.begin() + axis, -1);
  Shape visible;
  for (int axis : seen) visible.push_back(axis < 0 ? 1 : part.shape[axis]);
  while (value.rank > visible.rank && value[0] == 1) value = Shape(value.begin() + 1, value.end());
  if (host::broadcast_shape(value, visible) != visible)
    throw InvalidArgument("a value of shape " + to_string(value) + " does not fit a selection of " +
                          to_string(visible));
  const Shape over_visible = host::broadcast_strides(value, visible);
  Shape strides;
  strides.rank = part.shape.rank;
  for (size_t i = 0; i < seen.size(); ++i)
    if (seen[i] >= 0) strides[seen[i]] = over_visible[static_cast<int>(i)];
  return strides;
}

// Copies x to out and `value` over the selection; `keep` owns the value until the stream has got there.
template <typename T>
void overwrite_part(Context& ctx, const Tensor& x, const StridedSelection& part, const Shape& from, const T* value,
                    std::shared_ptr<T[]> keep, Output& out) {
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const host::Walk<2> walk(part.shape, {part.strides, from});
  host::launch(ctx, [=, n = x.numel(), keep = std::move(keep)] {
    copy_all(r, a, n);
    copy_rows(walk, r + part.offset, value);
  });
}

template <typename T>
void set_value_with_tensor(Context& ctx, const Tensor& x, const Tensor& value, const IntArray& starts,
                           const IntArray& ends, const IntArray& steps, const std::vector<int64_t>& axes,
                           const std::vector<int64_t>& decrease_axes, const std::vector<int64_t>& none_axes,
                           Output& out) {
  const StridedSelection part = strided_selection(x.shape, axes, starts, ends, steps);
  const Shape from = value_strides(value.shape, part, decrease_axes, none_axes);
  overwrite_part<T>(ctx, x, part, from, host::in<T>(value), nullptr, out);
}

// The value comes as numbers.
template <typename T>
void set_value(Context& ctx, const Tensor& x, const IntArray& starts, const IntArray& ends, const IntArray& steps,
               const std::vector<int64_t>& axes, const std::vector<int64_t>& decrease_axes,
               const std::vector<int64_t>& none_axes, const std::vector<int64_t>& shape,
               const std::vector<Scalar>& values, Output& out) {
  const StridedSelection part = strided_selection(x.shape, axes, starts, ends, steps);
  const Shape value_shape(shape);
  if (value_shape.numel() != static_cast<int64_t>(values.size()))
    throw InvalidArgument(std::to_string(values.size()) + " values for a shape of " + to_string(value_shape));
  const Shape from = value_strides(value_shape, part, decrease_axes, none_axes);
  std::shared_ptr<T[]> owned(new T[values.size()]);
  std::transform(values.begin(), values.end(), owned.get(), [](const Scalar& v) { return v.to<T>(); });
  const T* value = owned.get();
  overwrite_part<T>(ctx, x, part, from, value, std::move(owned), out);
}

ADAPTER_KERNEL("set_value", set_value, none, float, double, float16, bfloat16, int32_t, int64_t, bool, int8_t, uint8_t)
ADAPTER_KERNEL("set_value_with_tensor", set_value_with_tensor, none, float, double, float16, bfloat16, int32_t, int64_t,
               bool, int8_t, uint8_t)

}  // namespace adapter::kernels
