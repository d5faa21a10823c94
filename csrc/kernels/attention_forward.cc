#include <cmath>

#include "adapter_sdk/host/parallel.h"
#include "attention_tile.h"
#include "fast_exp.h"

namespace adapter::kernels {

// A tile of rows of one head while the columns go by: the peak of the scores so far, the sum of their exponentials and
// the weighted sum of v, both relative to the peak.
template <typename T>
class OnlineSoftmax {
 public:
  OnlineSoftmax(const Attention<T>& a, const KeptScores& kept, int64_t rows)
      : a_(a),
        kept_(kept),
        scores_(static_cast<size_t>(rows * kTileColumns)),
        rounded_(is_half<T> ? scores_.size() : 0),
        sums_(static_cast<size_t>(rows * a.value_dim)),
        peak_(static_cast<size_t>(rows)),
        tile_peak_(static_cast<size_t>(rows)),
        total_(static_cast<size_t>(rows)),
        keep_(a.dropout.p > 0 ? kTileColumns : 0) {}

  void start() {
    std::fill(sums_.begin(), sums_.end(), 0.0f);
    std::fill(total_.begin(), total_.end(), 0.0f);
    std::fill(peak_.begin(), peak_.end(), -std::numeric_limits<float>::infinity());
  }

  void add(const Sequence& s, const ScoreTile& t) {
    tile_scores(a_, s, t, scores_.data(), tile_peak_.data());
    for (int64_t i = 0; i < t.rows; ++i) weigh(s, t, i);
    const T* weights = nullptr;
    if constexpr (is_half<T>)
      weights = rounded_.data();
    else
      weights = scores_.data();
    gemm_tile<T>(false, false, t.rows, a_.value_dim, t.columns, weights, t.columns,
                 a_.v.at(s.k_begin + t.column, t.head / a_.group()), a_.v.row_stride, 1.0f, sums_.data(), a_.value_dim);
  }

  void finish(const Sequence& s, const ScoreTile& t, const Heads<T>& out, float* lse) const {
    for (int64_t i = 0; i < t.rows; ++i) {
      const float total = total_[static_cast<size_t>(i)];
      const bool empty = peak_[static_cast<size_t>(i)] == -std::numeric_limits<float>::infinity() && total == 0.0f;
      const float factor = empty ? 0.0f : 1 / total;
      T* r = out.at(s.q_begin + t.row + i, t.head);
      const float* sum = sums_.data() + i * a_.value_dim;
      ADAPTER_INDEPENDENT
      for (int64_t d = 0; d < a_.value_dim; ++d) r[d] = static_cast<T>(sum[d] * factor);
      if (empty) std::fill(r, r + a_.value_dim, T(0));  // v may hold NaN
      if (!lse) continue;
      lse[a_.lse_at(s, t.head) + t.row + i] = empty
                                                  ? std::numeric_limits<float>::infinity()
                                                  : static_cast<float>(peak_[static_cast<size_t>(i)] + std::log(total));
    }
  }

 private:
  // Scores of row i to weights relative to the new peak.
  void weigh(const Sequence& s, const ScoreTile& t, int64_t i) {
    const auto row = static_cast<size_t>(i);
    float* x = scores_.data() + i * t.columns;
    const int64_t n = columns_below_diagonal(s, t, i);
    const float before = peak_[row], now = std::max(before, tile_peak_[row]);
    const float base = now == -std::numeric_limits<float>::infinity() ? 0.0f : now;  // no score yet: weights are e^-inf
    const float shrink = exp_of(before - base);
    total_[row] = total_[row] * shrink + weights_of_scores(x, n, base);
    std::fill(x + n, x + t.columns, 0.0f);
    peak_[row] = now;
    if (before != now) {
      float* sum = sums_.data() + i * a_.value_dim;
      ADAPTER_INDEPENDENT
      for (int64_t d = 0; d < a_.value_dim; ++d) sum[d] *= shrink;
    }
    if (!keep_.empty()) drop(t, i, x);
    if constexpr (is_half<T>) round_scores(x, t.columns, rounded_.data() + i * t.columns);
  }

  void drop(const ScoreTile& t, int64_t i, float* x) {
    kept_.row(t, i, keep_.data());
    const auto factor = static_cast<float>(1 / (1 - a_.dropout.p));
    for (int64_t j = 0; j < t.columns; ++j) x[j] = keep_[static_cast<size_t>(j)] ? x[j] * factor : 0.0f;
  }

  const Attention<T>& a_;
  const KeptScores& kept_;
  std::vector<float> scores_;
  std::vector<T> rounded_;
  std::vector<float> sums_, peak_, tile_peak_, total_;
  std::vector<uint8_t> keep_;
};

// Tiles of rows of all heads, one after another: for each sequence its heads, for each head its tiles.
template <typename T>
class RowTiles {
 public:
  explicit RowTiles(const Attention<T>& a) : a_(a), rows_(1) {
    int64_t longest = 0;
    for (const Sequence& s : a.sequences) longest = std::max(longest, s.q_length);
    rows_ = tile_rows(longest);
    for (const Sequence& s : a.sequences) {
      first_.push_back(count_);
      count_ += a.heads * ((s.q_length + rows_ - 1) / rows_);
    }
  }
  int64_t count() const { return count_; }
  int64_t rows() const { return rows_; }

  ScoreTile tile(int64_t number) const {
    const auto after = std::upper_bound(first_.begin(), first_.end(), number);
    const int64_t batch = after - first_.begin() - 1;
    const Sequence& s = a_.sequences[static_cast<size_t>(batch)];
    const int64_t tiles = (s.q_length + rows_ - 1) / rows_, own = number - first_[static_cast<size_t>(batch)];
    const int64_t row = own % tiles * rows_;
    return {batch, own / tiles, row, std::min(rows_, s.q_length - row), 0, 0};
  }

 private:
  const Attention<T>& a_;
  int64_t rows_, count_ = 0;
  std::vector<int64_t> first_;
};

template <typename T>
void attention_forward(const Attention<T>& a, Heads<T> out, float* lse) {
  const KeptScores kept(a);
  const RowTiles<T> tiles(a);
  // Several tiles share one allocation.
  const int64_t grain = std::max<int64_t>(1, tiles.count() / 64);
  host::parallel_for(tiles.count(), grain, [&](int64_t begin, int64_t end) {
    OnlineSoftmax<T> state(a, kept, tiles.rows());
    for (int64_t number = begin; number < end; ++number) {
      ScoreTile t = tiles.tile(number);
      const Sequence& s = a.sequences[static_cast<size_t>(t.batch)];
      const int64_t reach = std::clamp<int64_t>(t.row + t.rows - 1 + s.diagonal, 0, s.k_length);
      state.start();
      for (t.column = 0; t.column < reach; t.column += kTileColumns) {
        t.columns = std::min(kTileColumns, reach - t.column);
        state.add(s, t);
      }
      state.finish(s, t, out, lse);
    }
  });
}

template <typename T>
void attention_probabilities(const Attention<T>& a, const float* lse, int64_t rows, int64_t columns, T* result) {
  const KeptScores kept(a);
  const auto batches = static_cast<int64_t>(a.sequences.size());
  std::fill(result, result + batches * a.heads * rows * columns, T(0));
  std::vector<float> x(static_cast<size_t>(kTileColumns));
  std::vector<uint8_t> keep(kTileColumns, 1);
  for (int64_t part = 0; part < batches * a.heads; ++part) {
    const Sequence& s = a.sequences[static_cast<size_t>(part / a.heads)];
    ScoreTile t{part / a.heads, part % a.heads, 0, 1, 0, 0};
    for (t.row = 0; t.row < s.q_length; ++t.row)
      for (t.column = 0; t.column < s.k_length; t.column += kTileColumns) {
        t.columns = std::min(kTileColumns, s.k_length - t.column);
        tile_scores(a, s, t, x.data(), nullptr);
        if (a.dropout.p > 0) kept.row(t, 0, keep.data());
        const float sum = lse[a.lse_at(s, t.head) + t.row];
        T* r = result + (part * rows + t.row) * columns + t.column;
        for (int64_t j = 0; j < t.columns; ++j) {
          const float p = exp_of(x[static_cast<size_t>(j)] - sum);
          r[j] = static_cast<T>(keep[static_cast<size_t>(j)] ? p : -p);
        }
      }
  }
}

#define ADAPTER_ATTENTION(T)                                              \
  template void attention_forward(const Attention<T>&, Heads<T>, float*); \
  template void attention_probabilities(const Attention<T>&, const float*, int64_t, int64_t, T*);
ADAPTER_ATTENTION(float)
ADAPTER_ATTENTION(float16)
ADAPTER_ATTENTION(bfloat16)
#undef ADAPTER_ATTENTION

}  // namespace adapter::kernels
