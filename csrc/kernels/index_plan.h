// Indexing with integer tensors as Paddle (since 3.1.1) describes it to a kernel.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/strided.h"

namespace adapter::kernels {

// Element i of the result lies at base + sum over the index tensors of index_k(i) * step_k, where base walks the axes
// that are not indexed. Paddle gives input_strides in elements (0 along indexed axes), index_strides and slice_offset
// in bytes.
struct IndexPlan {
  Shape space;
  Shape base_strides;   // of x, in elements
  Shape index_strides;  // of every index tensor over `space`
  std::vector<const int64_t*> indices;
  std::vector<int64_t> lengths, steps;  // of the indexed axes; steps in elements
  int64_t offset = 0;
};

// Shape with which the index tensors lie in the index space. `index_dims` holds the lengths of the indexed axes and
// then, for each index tensor, a -1 and that shape; releases that leave it out align the tensor's own shape to the
// right.
inline Shape shape_over_space(const std::vector<int64_t>& index_dims, const Shape& own) {
  const auto first = std::find(index_dims.begin(), index_dims.end(), -1);
  if (first == index_dims.end()) return own;
  return Shape(first + 1, std::find(first + 1, index_dims.end(), -1));
}

template <typename T>
IndexPlan index_plan(const TensorList& index, const std::vector<int64_t>& input_dims,
                     const std::vector<int64_t>& input_strides, const std::vector<int64_t>& index_dims,
                     const std::vector<int64_t>& index_strides, int64_t slice_offset) {
  if (index.empty() || index_dims.size() < index.size()) throw InvalidArgument("indexing without an index tensor");
  const int64_t width = sizeof(T);
  IndexPlan plan;
  const Shape index_shape = shape_over_space(index_dims, index.front().shape);
  plan.space = host::broadcast_shape(Shape(input_dims), index_shape);
  plan.index_strides = host::broadcast_strides(index_shape, plan.space);
  const int lead = plan.space.rank - static_cast<int>(input_dims.size());
  for (int i = 0; i < plan.space.rank; ++i) {
    const size_t own = static_cast<size_t>(i - lead);
    const bool moves = i >= lead && (input_dims[own] != 1 || plan.space[i] == 1);
    plan.base_strides.push_back(moves ? input_strides[own] : 0);
  }
  for (const Tensor& t : index) {
    if (t.dtype != DType::int64) throw Unimplemented(std::string("an index tensor of dtype ") + name_of(t.dtype));
    plan.indices.push_back(host::in<int64_t>(t));
  }
  plan.lengths.assign(index_dims.begin(), index_dims.begin() + static_cast<std::ptrdiff_t>(index.size()));
  for (int64_t bytes : index_strides) plan.steps.push_back(bytes / width);
  plan.offset = slice_offset / width;
  return plan;
}

// Calls element(result index, offset in x). Throws DeviceError for an index outside its axis.
template <typename Element>
void each_indexed(const IndexPlan& plan, Element&& element) {
  const host::Walk<3> walk(plan.space, {host::contiguous_strides(plan.space), plan.base_strides, plan.index_strides});
  walk.rows([&](const std::array<int64_t, 3>& o, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      int64_t position = plan.offset + o[1] + i * walk.inner_stride(1);
      const int64_t at = o[2] + i * walk.inner_stride(2);
      for (size_t k = 0; k < plan.indices.size(); ++k) {
        const int64_t value = plan.indices[k][at], length = plan.lengths[k];
        if (value < -length || value >= length)
          throw DeviceError("index " + std::to_string(value) + " is outside an axis of length " +
                            std::to_string(length));
        position += (value < 0 ? value + length : value) * plan.steps[k];
      }
      element(o[0] + i * walk.inner_stride(0), position);
    }
  });
}

}  // namespace adapter::kernels
