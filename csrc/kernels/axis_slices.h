// Slices along one axis, as softmax and the losses see a tensor: element j of slice (o, i) lies at
// (o * length + j) * inner + i.
#pragma once

#include <cstdint>

#include "adapter_sdk/tensor.h"

namespace adapter::kernels {

struct AxisSlices {
  int64_t outer = 1, length = 1, inner = 1;

  // A 0-D tensor is one slice of one element.
  AxisSlices(const Shape& shape, int64_t axis_value) {
    const int axis = shape.axis(axis_value);
    if (shape.rank == 0) return;
    outer = shape.product(0, axis);
    length = shape[axis];
    inner = shape.product(axis + 1, shape.rank);
  }
  int64_t count() const { return outer * inner; }

  // Calls slice(number, offset of its first element); its elements lie `inner` apart. Nothing if slices are empty.
  template <typename Slice>
  void each(Slice&& slice) const {
    if (length == 0) return;
    for (int64_t o = 0, number = 0; o < outer; ++o)
      for (int64_t i = 0; i < inner; ++i) slice(number++, o * length * inner + i);
  }
};

}  // namespace adapter::kernels
