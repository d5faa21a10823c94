// Slices along one axis, as softmax and the losses see a tensor: element j of slice (o, i) lies at
// (o * length + j) * inner + i.
#pragma once

#include <cstdint>

#include "adapter_sdk/host/parallel.h"
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
  // Offset of the first element of slice `number`.
  int64_t offset(int64_t number) const { return number / inner * length * inner + number % inner; }

  // Calls slice(number, offset of its first element, scratch); its elements lie `inner` apart. Several cores; each has
  // a scratch of its own, made by scratch(). Nothing if slices are empty. To be called inside launch().
  template <typename MakeScratch, typename Slice>
  void each(MakeScratch&& make_scratch, Slice&& slice) const {
    if (length == 0) return;
    host::parallel_for(count(), host::rows_grain(length), [&](int64_t begin, int64_t end) {
      auto scratch = make_scratch();
      for (int64_t number = begin; number < end; ++number) slice(number, offset(number), scratch);
    });
  }
  template <typename Slice>
  void each(Slice&& slice) const {
    each([] { return 0; }, [&](int64_t number, int64_t start, int) { slice(number, start); });
  }
};

}  // namespace adapter::kernels
