// x[slices] = value, out of place (the static executor, and in-place calls where out is x).
#include <algorithm>
#include <cstring>

#include "adapter_sdk/kernel.h"
#include "copy.h"

namespace adapter::kernels {

// Shape and strides of the part of x that the slices select, axes that an integer selects (decrease_axes) included.
struct Selection {
  Shape shape, strides;
  int64_t offset = 0;
};

inline Selection select(const Shape& x, const IntArray& starts, const IntArray& ends, const IntArray& steps,
                        const std::vector<int64_t>& axes) {
  Selection s{x, host::contiguous_strides(x), 0};
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = x.axis(axes[i]);
    const int64_t length = x[axis], step = steps.at(i);
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? length : length - 1;
    auto clamp = [&](int64_t index) { return std::clamp(index < 0 ? index + length : index, low, high); };
    const int64_t first = clamp(starts.at(i)), last = clamp(ends.at(i));
    const int64_t span = step > 0 ? last - first : first - last, pace = step > 0 ? step : -step;
    s.shape[axis] = span > 0 ? (span + pace - 1) / pace : 0;
    if (s.shape[axis] > 0) s.offset += first * s.strides[axis];
    s.strides[axis] *= step;
  }
  return s;
}

// `value` broadcasts to the selection as the user sees it: without dropped axes, with the axes that None added.
inline Shape value_strides(const Shape& value, const Selection& s, const std::vector<int64_t>& dropped,
                           const std::vector<int64_t>& none_axes) {
  Shape visible;  // shape of the selection without dropped axes
  std::vector<int> source;
  for (int i = 0; i < s.shape.rank; ++i)
    if (std::find(dropped.begin(), dropped.end(), i) == dropped.end()) {
      visible.push_back(s.shape[i]);
      source.push_back(i);
    }
  std::vector<int> visible_source = source;
  for (int64_t axis : none_axes) visible_source.insert(visible_source.begin() + axis, -1);
  Shape with_none;
  for (int axis : visible_source) with_none.push_back(axis < 0 ? 1 : s.shape[axis]);
  Shape trimmed = value;  // leading axes of length 1 beyond the selection's rank carry nothing
  while (trimmed.rank > with_none.rank && trimmed[0] == 1) trimmed = Shape(trimmed.begin() + 1, trimmed.end());
  const Shape over_visible = host::broadcast_strides(trimmed, with_none);
  Shape strides;
  strides.rank = s.shape.rank;
  for (size_t i = 0; i < visible_source.size(); ++i)
    if (visible_source[i] >= 0) strides[visible_source[i]] = over_visible[static_cast<int>(i)];
  return strides;
}

template <typename T>
void set_value_with_tensor(Context& ctx, const Tensor& x, const Tensor& value, const IntArray& starts,
                           const IntArray& ends, const IntArray& steps, const std::vector<int64_t>& axes,
                           const std::vector<int64_t>& decrease_axes, const std::vector<int64_t>& none_axes,
                           Output& out) {
  const Selection s = select(x.shape, starts, ends, steps, axes);
  const Shape from = value_strides(value.shape, s, decrease_axes, none_axes);
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const T* v = host::in<T>(value);
  const host::Walk<2> walk(s.shape, {s.strides, from});
  host::launch(ctx, [=, bytes = x.nbytes()] {
    if (r != a && bytes) std::memcpy(r, a, bytes);
    copy_rows(walk, r + s.offset, v);
  });
}

ADAPTER_KERNEL("set_value_with_tensor", set_value_with_tensor, none, float, double, int32_t, int64_t, bool)

}  // namespace adapter::kernels
