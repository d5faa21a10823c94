// Kernels that move elements without computing: everything is a walk over two strided arrays.
#pragma once

#include <cstring>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/loops.h"
#include "adapter_sdk/host/strided.h"

namespace adapter::kernels {

// d[i * sd] = s[i * ss]
template <typename T>
void copy_row(T* d, int64_t sd, const T* s, int64_t ss, int64_t n) {
  if (sd == 1 && ss == 1) {
    std::memmove(d, s, static_cast<size_t>(n) * sizeof(T));
  } else if (sd == 1 && ss == 0) {
    std::fill(d, d + n, *s);
  } else {
    ADAPTER_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) d[i * sd] = s[i * ss];
  }
}

// A transposition within a walk: the source runs on along `axis`, the destination along the last one.
struct Transposition {
  int axis = -1;
  explicit operator bool() const { return axis >= 0; }

  explicit Transposition(const host::Walk<2>& walk) {
    const int last = walk.shape.rank - 1;
    if (walk.strides[0][last] != 1 || walk.strides[1][last] < 8 || walk.shape[last] < 8) return;
    for (int i = 0; i < last; ++i)
      if (walk.strides[1][i] == 1 && walk.shape[i] >= 8) axis = i;
  }
};

// Tiles that lie in the nearest cache with both their sides.
inline constexpr int64_t kTile = 32;

// The two axes of the transposition tile by tile, the others outside.
template <typename T>
void copy_transposed(const host::Walk<2>& walk, int axis, T* dst, const T* src) {
  const int last = walk.shape.rank - 1;
  const int64_t rows = walk.shape[axis], columns = walk.shape[last];
  const int64_t row_to = walk.strides[0][axis], column_from = walk.strides[1][last];
  Shape outer;
  std::array<Shape, 2> strides;
  for (int i = 0; i < last; ++i) {
    if (i == axis) continue;
    outer.push_back(walk.shape[i]);
    for (size_t k = 0; k < 2; ++k) strides[k].push_back(walk.strides[k][i]);
  }
  const host::Walk<2> others(outer, strides);
  const int64_t bands = (rows + kTile - 1) / kTile, planes = outer.numel();
  host::parallel_for(planes * bands, host::rows_grain(kTile * columns), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t top = item % bands * kTile, bottom = std::min(top + kTile, rows);
      others.range(item / bands, item / bands + 1, [&](const std::array<int64_t, 2>& o, int64_t) {
        for (int64_t left = 0; left < columns; left += kTile) {
          const int64_t right = std::min(left + kTile, columns);
          for (int64_t i = top; i < bottom; ++i) {
            T* d = dst + o[0] + i * row_to;
            const T* s = src + o[1] + i;
            for (int64_t j = left; j < right; ++j) d[j] = s[j * column_from];
          }
        }
      });
    }
  });
}

// dst[walk operand 0] = src[walk operand 1], on several cores. No place of dst may be named twice.
template <typename T>
void copy_rows(const host::Walk<2>& walk, T* dst, const T* src) {
  if (const Transposition transposition(walk); transposition)
    return copy_transposed(walk, transposition.axis, dst, src);
  const int64_t sd = walk.inner_stride(0), ss = walk.inner_stride(1);
  host::parallel_rows(walk,
                      [&](const std::array<int64_t, 2>& o, int64_t n) { copy_row(dst + o[0], sd, src + o[1], ss, n); });
}

// Fills a contiguous output, read over its index space from `x` at `offset` with `strides` (elements).
template <typename T>
void gather_strided(Context& ctx, const Tensor& x, const Shape& strides, int64_t offset, Output& output) {
  const Shape space = output.shape;
  T* r = host::out<T>(ctx, output);
  const T* a = host::in<T>(x);
  const host::Walk<2> walk(space, {host::contiguous_strides(space), strides});
  host::launch(ctx, [=] { copy_rows(walk, r, a + offset); });
}

}  // namespace adapter::kernels
