// The part of a tensor that slices with steps select.
#pragma once

#include <algorithm>
#include <vector>

#include "adapter_sdk/host/strided.h"

namespace adapter::kernels {

// Shape of the selection, the strides with which it lies in x (in elements), and its first element.
struct StridedSelection {
  Shape shape;
  Shape strides;
  int64_t offset = 0;
};

// Start, end and step of one axis as Python's slice.indices() has them. Throws InvalidArgument for step 0.
template <typename Axis>
StridedSelection strided_selection(const Shape& x, const std::vector<Axis>& axes, const IntArray& starts,
                                   const IntArray& ends, const IntArray& steps) {
  StridedSelection selection{x, host::contiguous_strides(x), 0};
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = x.axis(axes[i]);
    const int64_t length = x[axis], step = steps.at(i);
    if (step == 0) throw InvalidArgument("a slice with step 0");
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? length : length - 1;
    auto clamp = [&](int64_t index) { return std::clamp(index < 0 ? index + length : index, low, high); };
    const int64_t first = clamp(starts.at(i)), last = clamp(ends.at(i));
    const int64_t span = step > 0 ? last - first : first - last, pace = step > 0 ? step : -step;
    selection.shape[axis] = span > 0 ? (span + pace - 1) / pace : 0;
    if (selection.shape[axis] > 0) selection.offset += first * selection.strides[axis];
    selection.strides[axis] *= step;
  }
  return selection;
}

}  // namespace adapter::kernels
