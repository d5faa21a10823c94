#include <algorithm>

#include "adapter_sdk/kernel.h"
#include "copy.h"

namespace adapter::kernels {

struct StridedSlicePlan {
  Shape shape;
  Shape strides;
  int64_t offset = 0;
};

// Start, end and step of one axis as Python's slice.indices() has them.
inline StridedSlicePlan strided_slice_plan(const Shape& x, const std::vector<int32_t>& axes, const IntArray& starts,
                                           const IntArray& ends, const IntArray& steps) {
  StridedSlicePlan plan{x, host::contiguous_strides(x), 0};
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = x.axis(axes[i]);
    const int64_t length = x[axis], step = steps.at(i);
    if (step == 0) throw InvalidArgument("strided_slice with step 0");
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? length : length - 1;
    auto clamp = [&](int64_t index) { return std::clamp(index < 0 ? index + length : index, low, high); };
    const int64_t first = clamp(starts.at(i)), last = clamp(ends.at(i));
    const int64_t span = step > 0 ? last - first : first - last, pace = step > 0 ? step : -step;
    plan.shape[axis] = span > 0 ? (span + pace - 1) / pace : 0;
    plan.offset += plan.shape[axis] > 0 ? first * plan.strides[axis] : 0;
    plan.strides[axis] *= step;
  }
  return plan;
}

template <typename T>
void strided_slice(Context& ctx, const Tensor& x, const std::vector<int32_t>& axes, const IntArray& starts,
                   const IntArray& ends, const IntArray& steps, Output& out) {
  const StridedSlicePlan plan = strided_slice_plan(x.shape, axes, starts, ends, steps);
  ctx.resize(out, plan.shape);
  gather_strided<T>(ctx, x, plan.strides, plan.offset, out);
}

template <typename T>
void strided_slice_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const std::vector<int32_t>& axes,
                        const IntArray& starts, const IntArray& ends, const IntArray& steps, Output& x_grad) {
  const StridedSlicePlan plan = strided_slice_plan(x.shape, axes, starts, ends, steps);
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  const int64_t n = x.numel();
  const host::Walk<2> walk(plan.shape, {plan.strides, host::contiguous_strides(plan.shape)});
  host::launch(ctx, [=] {
    std::fill(r, r + n, T(0));
    copy_rows(walk, r + plan.offset, g);
  });
}

ADAPTER_KERNEL("strided_slice", strided_slice, none, float, double, int32_t, int64_t, bool)
ADAPTER_KERNEL("strided_slice_grad", strided_slice_grad, none, float, double, int32_t, int64_t)

}  // namespace adapter::kernels
