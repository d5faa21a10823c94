// What may follow a matrix product before it is stored: an activation, and what its gradient needs.
//
// gelu is the tanh approximation here, as in the library that Paddle's GPU kernel calls (cuBLASLt's epilogue).
#pragma once

#include <string>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/loops.h"
#include "gemm.h"
#include "gemm_tiles.h"
#include "logistic.h"
#include "matrices.h"

namespace adapter::kernels {

enum class Epilogue { none, relu, gelu };

inline Epilogue epilogue_named(const std::string& activation) {
  if (activation == "none") return Epilogue::none;
  if (activation == "relu") return Epilogue::relu;
  if (activation == "gelu") return Epilogue::gelu;
  throw InvalidArgument("fused_gemm_epilogue has the activations 'none', 'relu' and 'gelu', not '" + activation + "'");
}

// 2 sqrt(2 / pi) (x + 0.044715 x^3): (1 + tanh(u)) / 2 is the logistic function of 2u, which does not cancel.
template <typename C>
C epilogue_gelu_argument(C x) {
  return C(1.59576912160573071176) * x * (1 + C(0.044715) * x * x);
}

template <typename C>
C epilogue_gelu_slope(C x) {
  const C u = epilogue_gelu_argument(x);
  return logistic(u) * (1 + x * logistic(-u) * C(1.59576912160573071176) * (1 + C(3 * 0.044715) * x * x));
}

template <typename C>
void apply_epilogue(Epilogue epilogue, C* row, int64_t n) {
  if (epilogue == Epilogue::relu)
    for (int64_t j = 0; j < n; ++j) row[j] = row[j] > 0 || row[j] != row[j] ? row[j] : C(0);
  if (epilogue == Epilogue::gelu)
    for (int64_t j = 0; j < n; ++j) row[j] *= logistic(epilogue_gelu_argument(row[j]));
}

// What is kept of the argument for the gradient: relu's is where it let through, gelu's the argument itself.
template <typename T>
void keep_for_gradient(Epilogue epilogue, const Compute<T>* row, int64_t n, void* kept, int64_t at) {
  if (kept == nullptr || epilogue == Epilogue::none) return;
  if (epilogue == Epilogue::gelu) return host::narrow(row, static_cast<T*>(kept) + at, 1, n);
  bool* through = static_cast<bool*>(kept) + at;
  for (int64_t j = 0; j < n; ++j) through[j] = row[j] > 0;
}

// The slope of an activation at element i, from what was kept.
template <typename T>
struct EpilogueSlope {
  Epilogue epilogue;
  const void* kept;

  Compute<T> operator()(int64_t i) const {
    if (epilogue == Epilogue::relu) return static_cast<const bool*>(kept)[i] ? Compute<T>(1) : Compute<T>(0);
    return epilogue_gelu_slope(static_cast<Compute<T>>(static_cast<const T*>(kept)[i]));
  }
};

// out = op(x) op(y), a product of matrices, not of batches. Every part of a row goes through finish(sums, place of the
// first in the result, its column, n) before it is stored.
template <typename T, typename Finish>
void multiply_with_epilogue(const MatrixProduct& p, const T* x, const T* y, T* out, Finish&& finish) {
  using C = Compute<T>;
  const TileSides sides(p.m, p.n, p.k);
  const int64_t lda = p.transpose_x ? p.m : p.k, ldb = p.transpose_y ? p.k : p.n;
  each_tile(p.m, p.n, sides.rows, sides.columns, [&](const Tile& tile) {
    std::vector<C> own(is_half<T> ? static_cast<size_t>(tile.rows * tile.columns) : 0);
    C* sum = own.data();
    int64_t row_length = tile.columns;
    if constexpr (!is_half<T>) {  // the sums are made where they belong
      sum = out + tile.row * p.n + tile.column;
      row_length = p.n;
      for (int64_t i = 0; p.k == 0 && i < tile.rows; ++i) std::fill_n(sum + i * row_length, tile.columns, C(0));
    }
    if (p.k > 0)
      gemm_tile<T>(p.transpose_x, p.transpose_y, tile.rows, tile.columns, p.k, x + tile.row * (p.transpose_x ? 1 : lda),
                   lda, y + tile.column * (p.transpose_y ? ldb : 1), ldb, C(0), sum, row_length);
    for (int64_t i = 0; i < tile.rows; ++i) {
      const int64_t at = (tile.row + i) * p.n + tile.column;
      C* row = sum + i * row_length;
      finish(row, at, tile.column, tile.columns);
      if constexpr (is_half<T>) host::narrow(row, out + at, 1, tile.columns);
    }
  });
}

// Calls finish(row, column, sum) for every element of [m, n] = sum over i < depth of a(row, i) * b(i, column). The
// operands are computed panel by panel, in C.
template <typename C, typename A, typename B, typename Finish>
void multiply_computed(int64_t m, int64_t n, int64_t depth, A&& a, B&& b, Finish&& finish) {
  constexpr int64_t kSide = 512;
  each_tile(m, n, kSide, kSide, [&](const Tile& tile) {
    std::vector<C> left(static_cast<size_t>(tile.rows * kSide)), right(static_cast<size_t>(kSide * tile.columns));
    std::vector<C> sum(static_cast<size_t>(tile.rows * tile.columns));
    for (int64_t first = 0; first < depth; first += kSide) {
      const int64_t count = std::min(kSide, depth - first);
      for (int64_t i = 0; i < tile.rows; ++i)
        for (int64_t p = 0; p < count; ++p) left[static_cast<size_t>(i * count + p)] = a(tile.row + i, first + p);
      for (int64_t p = 0; p < count; ++p)
        for (int64_t j = 0; j < tile.columns; ++j)
          right[static_cast<size_t>(p * tile.columns + j)] = b(first + p, tile.column + j);
      gemm_tile<C>(false, false, tile.rows, tile.columns, count, left.data(), count, right.data(), tile.columns,
                   first == 0 ? C(0) : C(1), sum.data(), tile.columns);
    }
    for (int64_t i = 0; i < tile.rows; ++i)
      for (int64_t j = 0; j < tile.columns; ++j)
        finish(tile.row + i, tile.column + j, sum[static_cast<size_t>(i * tile.columns + j)]);
  });
}

}  // namespace adapter::kernels
