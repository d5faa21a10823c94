// Elements of a tensor named by an index: the one at the index's own place, but for its position along one axis.
#pragma once

#include <string>

#include "adapter_sdk/host/strided.h"
#include "rows.h"

namespace adapter::kernels {

// Calls move(place in the index, place in x) for every index.
template <typename Index, typename Move>
void each_place(const char* kernel, const Shape& x, const Shape& index, int axis, const Index* positions, Move&& move) {
  Shape strides = host::contiguous_strides(x);
  const int64_t step = strides[axis];
  strides[axis] = 0;  // the position along this axis comes from the index
  const host::Walk<2> walk(index, {host::contiguous_strides(index), strides});
  walk.rows([&](const std::array<int64_t, 2>& o, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t k = o[0] + i * walk.inner_stride(0);
      const int64_t row = checked_row(kernel, static_cast<int64_t>(positions[k]), k, x[axis]);
      move(k, o[1] + i * walk.inner_stride(1) + row * step);
    }
  });
}

inline void check_index_shape(const char* kernel, const Shape& x, const Shape& index, int axis) {
  bool fits = x.rank == index.rank;
  for (int i = 0; fits && i < x.rank; ++i) fits = i == axis || index[i] <= x[i];
  if (!fits)
    throw InvalidArgument(std::string(kernel) + ": an index of shape " + to_string(index) +
                          " reaches outside a tensor of shape " + to_string(x));
}

}  // namespace adapter::kernels
