// Walks one or more arrays over a common index space, each with its own element strides (0 where it is broadcast).
#pragma once

#include <array>
#include <cstdint>

#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/tensor.h"

namespace adapter::host {

// Row-major strides of a contiguous tensor, in elements.
inline Shape contiguous_strides(const Shape& shape) {
  Shape strides;
  strides.rank = shape.rank;
  int64_t step = 1;
  for (int i = shape.rank - 1; i >= 0; --i) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

// Shape that all operands broadcast to (NumPy's rule). Throws InvalidArgument when they do not fit.
inline Shape broadcast_shape(const Shape& a, const Shape& b) {
  Shape result;
  result.rank = a.rank > b.rank ? a.rank : b.rank;
  for (int i = 1; i <= result.rank; ++i) {
    const int64_t da = i <= a.rank ? a[a.rank - i] : 1;
    const int64_t db = i <= b.rank ? b[b.rank - i] : 1;
    if (da != db && da != 1 && db != 1)
      throw InvalidArgument("shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    result[result.rank - i] = da == 1 ? db : da;
  }
  return result;
}

// Strides with which a contiguous tensor of shape `from` is read over index space `to`: 0 along broadcast axes.
inline Shape broadcast_strides(const Shape& from, const Shape& to) {
  const Shape own = contiguous_strides(from);
  Shape strides;
  strides.rank = to.rank;
  for (int i = 1; i <= to.rank; ++i) {
    const bool moves = i <= from.rank && from[from.rank - i] != 1;
    strides[to.rank - i] = moves ? own[from.rank - i] : 0;
  }
  return strides;
}

// An index space with N operands; axes of length 1 dropped and axes that run on contiguously merged, so that the inner
// loop is as long as can be.
template <int N>
struct Walk {
  Shape shape;
  std::array<Shape, N> strides;

  Walk(const Shape& space, const std::array<Shape, N>& operand_strides) {
    for (int axis = 0; axis < space.rank; ++axis) {
      if (space[axis] == 1) continue;
      if (merges(space[axis], operand_strides, axis)) {
        const int last = shape.rank - 1;
        shape[last] *= space[axis];
        for (int k = 0; k < N; ++k) strides[k][last] = operand_strides[k][axis];
      } else {
        shape.push_back(space[axis]);
        for (int k = 0; k < N; ++k) strides[k].push_back(operand_strides[k][axis]);
      }
    }
    if (shape.rank == 0) {
      shape.push_back(1);
      for (int k = 0; k < N; ++k) strides[k].push_back(0);
    }
  }

  // Number of innermost rows, and the length of each.
  int64_t row_count() const { return shape.product(0, shape.rank - 1); }
  int64_t row_length() const { return shape[shape.rank - 1]; }

  // Calls row(offsets, length) for every innermost row; operand k steps by inner_stride(k) within it.
  template <typename Row>
  void rows(Row&& row) const {
    rows_between(0, row_count(), row);
  }

  // The same for the rows [first, last), in row-major order.
  template <typename Row>
  void rows_between(int64_t first, int64_t last, Row&& row) const {
    if (shape.numel() == 0 || first >= last) return;
    const int inner = shape.rank - 1;
    std::array<int64_t, N> offset{};
    std::array<int64_t, kMaxRank> index{};
    int64_t rest = first;
    for (int axis = inner - 1; axis >= 0; --axis) {
      index[static_cast<size_t>(axis)] = rest % shape[axis];
      rest /= shape[axis];
      for (int k = 0; k < N; ++k) offset[k] += index[static_cast<size_t>(axis)] * strides[k][axis];
    }
    for (int64_t current = first;;) {
      row(offset, shape[inner]);
      if (++current == last) return;
      for (int axis = inner - 1; axis >= 0; --axis) {
        for (int k = 0; k < N; ++k) offset[k] += strides[k][axis];
        if (++index[static_cast<size_t>(axis)] < shape[axis]) break;
        index[static_cast<size_t>(axis)] = 0;
        for (int k = 0; k < N; ++k) offset[k] -= strides[k][axis] * shape[axis];
      }
    }
  }

  // Calls row(offsets, length) for the elements [begin, end), counted in row-major order; rows may come in part.
  template <typename Row>
  void range(int64_t begin, int64_t end, Row&& row) const {
    if (begin >= end) return;
    const int64_t length = row_length();
    int64_t skip = begin % length, left = end - begin;
    rows_between(begin / length, (end + length - 1) / length, [&](std::array<int64_t, N> offset, int64_t n) {
      for (int k = 0; k < N; ++k) offset[static_cast<size_t>(k)] += skip * inner_stride(k);
      const int64_t m = std::min(n - skip, left);
      skip = 0, left -= m;
      row(offset, m);
    });
  }

  int64_t inner_stride(int k) const { return strides[static_cast<size_t>(k)][shape.rank - 1]; }

 private:
  bool merges(int64_t length, const std::array<Shape, N>& operand_strides, int axis) const {
    if (shape.rank == 0) return false;
    for (int k = 0; k < N; ++k)
      if (strides[k][shape.rank - 1] != operand_strides[k][axis] * length) return false;
    return true;
  }
};

// Calls row(offsets, length) as Walk::rows does, on several cores and in any order; a long row may come in pieces.
template <int N, typename Row>
void parallel_rows(const Walk<N>& walk, Row&& row) {
  const int64_t count = walk.row_count(), length = walk.row_length();
  if (count >= 16 || length < kElementGrain) {
    parallel_for(count, rows_grain(length), [&](int64_t first, int64_t last) { walk.rows_between(first, last, row); });
    return;
  }
  walk.rows([&](const std::array<int64_t, N>& offset, int64_t n) {
    parallel_for(n, kElementGrain, [&](int64_t begin, int64_t end) {
      std::array<int64_t, N> start = offset;
      for (int k = 0; k < N; ++k) start[static_cast<size_t>(k)] += begin * walk.inner_stride(k);
      row(start, end - begin);
    });
  });
}

}  // namespace adapter::host
