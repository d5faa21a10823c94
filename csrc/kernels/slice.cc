// Needed under the static executor; in eager mode Paddle serves a slice as a view.
#include <algorithm>

#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "copy.h"

namespace adapter::kernels {

// The part of a tensor that a slice selects: first element, steps, and the shape before axes are dropped.
struct SlicePlan {
  Shape shape;
  Shape strides;  // in elements of x
  int64_t offset = 0;
};

// A start or end outside the axis is clamped, a negative one counts from the end (NumPy's rule).
inline int64_t clamp_index(int64_t index, int64_t length) {
  return std::clamp<int64_t>(index < 0 ? index + length : index, 0, length);
}

inline SlicePlan slice_plan(const Shape& x, const std::vector<int64_t>& axes, const IntArray& starts,
                            const IntArray& ends) {
  SlicePlan plan{x, host::contiguous_strides(x), 0};
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = x.axis(axes[i]);
    const int64_t first = clamp_index(starts.at(i), x[axis]);
    const int64_t last = clamp_index(ends.at(i), x[axis]);
    plan.shape[axis] = std::max<int64_t>(0, last - first);
    plan.offset += first * plan.strides[axis];
  }
  return plan;
}

inline Shape without_axes(const Shape& shape, const std::vector<int64_t>& dropped) {
  Shape result;
  for (int i = 0; i < shape.rank; ++i)
    if (std::find(dropped.begin(), dropped.end(), i) == dropped.end()) result.push_back(shape[i]);
  return result;
}

template <typename T>
void slice(Context& ctx, const Tensor& x, const std::vector<int64_t>& axes, const IntArray& starts,
           const IntArray& ends, const std::vector<int64_t>& /*infer_flags*/, const std::vector<int64_t>& decrease_axis,
           Output& out) {
  const SlicePlan plan = slice_plan(x.shape, axes, starts, ends);
  ctx.resize(out, without_axes(plan.shape, decrease_axis));
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const host::Walk<2> walk(plan.shape, {host::contiguous_strides(plan.shape), plan.strides});
  host::launch(ctx, [=] { copy_rows(walk, r, a + plan.offset); });
}

template <typename T>
void slice_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const std::vector<int64_t>& axes,
                const IntArray& starts, const IntArray& ends, const std::vector<int64_t>& /*infer_flags*/,
                const std::vector<int64_t>& /*decrease_axis*/, Output& x_grad) {
  const SlicePlan plan = slice_plan(x.shape, axes, starts, ends);
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  const int64_t n = x.numel();
  const host::Walk<2> walk(plan.shape, {plan.strides, host::contiguous_strides(plan.shape)});
  host::launch(ctx, [=] {
    fill_all(r, n, T(0));
    copy_rows(walk, r + plan.offset, g);
  });
}

ADAPTER_KERNEL("slice", slice, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, uint8_t, int8_t, bool)
ADAPTER_KERNEL("slice_grad", slice_grad, none, float, double, float16, bfloat16, int32_t, int64_t, bool)

}  // namespace adapter::kernels
