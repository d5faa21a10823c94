// Reductions over any set of axes.
#pragma once

#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/strided.h"

namespace adapter::host {

// A reduction seen as `outer` results, each over `inner` elements, with the element strides of both index spaces.
struct Reduction {
  Shape outer_shape, outer_strides;  // kept axes
  Shape inner_shape, inner_strides;  // reduced axes
  int64_t outer() const { return outer_shape.numel(); }
  int64_t inner() const { return inner_shape.numel(); }
};

// `axes` may be negative; empty means all. Throws InvalidArgument for an axis outside the tensor.
inline Reduction reduction(const Shape& shape, const std::vector<int64_t>& axes, bool reduce_all) {
  std::array<bool, kMaxRank> reduced{};
  const bool all = reduce_all || axes.empty();
  for (int64_t axis : axes)
    if (shape.rank > 0) reduced[static_cast<size_t>(shape.axis(axis))] = true;
  const Shape strides = contiguous_strides(shape);
  Reduction r;
  for (int i = 0; i < shape.rank; ++i) {
    const bool inner = all || reduced[static_cast<size_t>(i)];
    (inner ? r.inner_shape : r.outer_shape).push_back(shape[i]);
    (inner ? r.inner_strides : r.outer_strides).push_back(strides[i]);
  }
  return r;
}

// Calls result(i, fold) for every result i, on several cores; fold(step) calls step(offset) for each reduced element,
// in row-major order and on one core, so that a sum has one order of its terms.
template <typename Result>
void for_each_result(const Reduction& r, Result&& result) {
  const Walk<1> outer(r.outer_shape, {r.outer_strides});
  const Walk<1> inner(r.inner_shape, {r.inner_strides});
  const bool empty = r.inner() == 0;
  const int64_t length = outer.row_length(), stride = inner.inner_stride(0);
  parallel_for(r.outer(), rows_grain(r.inner()), [&](int64_t begin, int64_t end) {
    int64_t i = begin, skip = begin % length;  // the first row may be entered in its middle
    outer.rows_between(begin / length, (end + length - 1) / length, [&](const std::array<int64_t, 1>& o, int64_t n) {
      for (int64_t k = skip; k < n && i < end; ++k) {
        const int64_t base = o[0] + k * outer.inner_stride(0);
        result(i++, [&](auto&& step) {
          if (empty) return;
          inner.rows([&](const std::array<int64_t, 1>& q, int64_t m) {
            for (int64_t j = 0; j < m; ++j) step(base + q[0] + j * stride);
          });
        });
      }
      skip = 0;
    });
  });
}

// The reduction that undoes broadcasting `small` to `large`: the gradient of a broadcast operand sums over it.
inline Reduction broadcast_reduction(const Shape& small, const Shape& large) {
  const Shape strides = contiguous_strides(large);
  Reduction r;
  for (int i = 0; i < large.rank; ++i) {
    const int own = i - (large.rank - small.rank);
    const bool broadcast = own < 0 || (small[own] == 1 && large[i] != 1);
    (broadcast ? r.inner_shape : r.outer_shape).push_back(large[i]);
    (broadcast ? r.inner_strides : r.outer_strides).push_back(strides[i]);
  }
  return r;
}

}  // namespace adapter::host
