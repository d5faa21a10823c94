// One tile of attention scores: rows of one head of q against columns of k.
#pragma once

#include <algorithm>
#include <limits>

#include "adapter_sdk/host/loops.h"
#include "attention.h"
#include "attention_rows.h"
#include "gemm.h"

namespace adapter::kernels {

inline constexpr int64_t kTileColumns = 512;
static_assert(kTileColumns % (4 * kPhiloxLanes) == 0, "a tile's random numbers begin with whole blocks");

inline int64_t tile_rows(int64_t rows) { return rows >= 768 ? 256 : rows >= 192 ? 64 : 32; }

struct ScoreTile {
  int64_t batch, head, row, rows, column, columns;
};

// Columns of the tile that row `i` of it may attend to, as far as the diagonal goes.
inline int64_t columns_below_diagonal(const Sequence& s, const ScoreTile& t, int64_t i) {
  return std::clamp<int64_t>(t.row + i + s.diagonal - t.column, 0, t.columns);
}

// Whether the bounds forbid `row` to attend to a column.
inline bool out_of_bounds(const ColumnBounds& bounds, const int32_t* bound, int64_t row) {
  if (bounds.width == 1) return row >= bound[0];
  if (bounds.width == 2) return bounds.causal ? row >= bound[0] && row < bound[1] : row >= bound[0] || row < bound[1];
  return (row >= bound[0] && row < bound[1]) || (row >= bound[2] && row < bound[3]);
}

// scores[rows, columns] = scale * q k^T + mask, -infinity where a row may not attend; peaks[i], where wanted, is the
// largest of row i.
template <typename T>
void tile_scores(const Attention<T>& a, const Sequence& s, const ScoreTile& t, float* scores, float* peaks) {
  gemm_tile<T>(false, true, t.rows, t.columns, a.dim, a.q.at(s.q_begin + t.row, t.head), a.q.row_stride,
               a.k.at(s.k_begin + t.column, t.head / a.group()), a.k.row_stride, 0.0f, scores, t.columns);
  for (int64_t i = 0; i < t.rows; ++i) {
    float* x = scores + i * t.columns;
    const int64_t n = columns_below_diagonal(s, t, i);
    float peak = scale_scores(x, n, static_cast<float>(a.scale));
    if (a.mask.data) {
      const T* mask = a.mask.row(t.batch, t.head, t.row + i) + t.column;
      ADAPTER_INDEPENDENT
      for (int64_t j = 0; j < n; ++j) x[j] += static_cast<float>(mask[j]);
    }
    for (int64_t j = 0; a.bounds.data && j < n; ++j)
      if (out_of_bounds(a.bounds, a.bounds.column(t.batch, t.head, t.column + j), t.row + i))
        x[j] = -std::numeric_limits<float>::infinity();
    std::fill(x + n, x + t.columns, -std::numeric_limits<float>::infinity());
    if (peaks) peaks[i] = a.mask.data || a.bounds.data ? peak_of_scores(x, n) : peak;
  }
}

// Which probabilities are kept: the same in the forward and in the backward pass, however these are cut into tiles.
class KeptScores {
 public:
  template <typename T>
  explicit KeptScores(const Attention<T>& a)
      : draw_(a.dropout.seed, a.dropout.number),
        threshold_(static_cast<uint64_t>(a.dropout.p * 0x1p32)),
        heads_(a.heads) {
    for (const Sequence& s : a.sequences) {
      rows_ = std::max(rows_, s.q_length);
      columns_ = std::max(columns_, (s.k_length + kStep - 1) / kStep * kStep);
    }
  }

  // kept[j] of the tile's row i.
  void row(const ScoreTile& t, int64_t i, uint8_t* kept) const {
    const int64_t first = ((t.batch * heads_ + t.head) * rows_ + t.row + i) * columns_ + t.column;
    for (int64_t j = 0; j < t.columns; j += kStep) {
      const PhiloxBlocks blocks = draw_.blocks((first + j) / 4);
      for (int64_t l = 0; l < kPhiloxLanes; ++l)
        for (int64_t word = 0; word < 4; ++word)
          if (j + 4 * l + word < t.columns) kept[j + 4 * l + word] = blocks.words[word][l] >= threshold_;
    }
  }

 private:
  static constexpr int64_t kStep = 4 * kPhiloxLanes;
  RandomDraw draw_;
  uint64_t threshold_;
  int64_t heads_, rows_ = 0, columns_ = 0;
};

}  // namespace adapter::kernels
