// Whole arrays filled and copied by several cores.
#pragma once

#include <algorithm>
#include <cstring>

#include "adapter_sdk/host/parallel.h"

namespace adapter::kernels {

template <typename T>
void fill_all(T* to, int64_t n, T value) {
  host::parallel_for(n, host::kElementGrain,
                     [=](int64_t begin, int64_t end) { std::fill(to + begin, to + end, value); });
}

// The two may be one and the same, but must not overlap otherwise.
template <typename T>
void copy_all(T* to, const T* from, int64_t n) {
  if (to == from) return;
  host::parallel_for(n, host::kElementGrain, [=](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin) * sizeof(T));
  });
}

// Calls copy(row, place within the row, n) for pieces that cover `rows` rows of `length` elements, on several cores.
template <typename Copy>
void copy_pieces(int64_t rows, int64_t length, Copy&& copy) {
  if (rows == 0 || length == 0) return;
  if (rows >= 16 || length < host::kElementGrain) {
    host::parallel_for(rows, host::rows_grain(length), [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) copy(row, int64_t{0}, length);
    });
    return;
  }
  for (int64_t row = 0; row < rows; ++row)
    host::parallel_for(length, host::kElementGrain, [&](int64_t begin, int64_t end) { copy(row, begin, end - begin); });
}

}  // namespace adapter::kernels
