#include "adapter_sdk/host/parallel.h"
#include "attention_tile.h"
#include "fast_exp.h"
#include "row_folds.h"

namespace adapter::kernels {

// All gradients of the heads that share one head of k and v, in one sequence.
//
//   P = exp(scores - lse)         dP = out_grad v^T        dS = P * (dP - sum(out_grad * out)) * scale
//   dV = P^T out_grad             dQ = dS k                dK = dS^T q
// With dropout, P in dV and dP in dS are those that were kept, divided by their share.
template <typename T>
class HeadGroupGradient {
 public:
  HeadGroupGradient(const Attention<T>& a, const KeptScores& kept, Heads<const T> out, const float* lse,
                    Heads<const T> out_grad, const AttentionGradients<T>& gradients)
      : a_(a), kept_(kept), out_(out), lse_(lse), out_grad_(out_grad), to_(gradients) {}

  void run(int64_t batch, int64_t kv_head) {
    s_ = a_.sequences[static_cast<size_t>(batch)];
    rows_ = tile_rows(s_.q_length);
    const auto tile = static_cast<size_t>(rows_ * kTileColumns);
    p_.resize(tile), dp_.resize(tile);
    if constexpr (is_half<T>) p_rounded_.resize(tile), ds_rounded_.resize(tile);
    q_sum_.assign(static_cast<size_t>(a_.group() * s_.q_length * a_.dim), 0.0f);
    delta_.resize(static_cast<size_t>(a_.group() * s_.q_length));
    for (int64_t h = 0; h < a_.group(); ++h) dot_out(kv_head * a_.group() + h, delta_.data() + h * s_.q_length);
    for (int64_t column = 0; column < s_.k_length; column += kTileColumns) columns(batch, kv_head, column);
    for (int64_t h = 0; to_.q.data && h < a_.group(); ++h)
      for (int64_t i = 0; i < s_.q_length; ++i)
        store(q_sum_.data() + (h * s_.q_length + i) * a_.dim, a_.dim,
              to_.q.at(s_.q_begin + i, kv_head * a_.group() + h));
  }

 private:
  // delta[i] = sum(out_grad * out) of row i
  void dot_out(int64_t head, float* delta) const {
    for (int64_t i = 0; i < s_.q_length; ++i) {
      const T *o = out_.at(s_.q_begin + i, head), *g = out_grad_.at(s_.q_begin + i, head);
      delta[i] =
          row_sum<float>(a_.value_dim, [=](int64_t d) { return static_cast<float>(o[d]) * static_cast<float>(g[d]); });
    }
  }

  // dK and dV of one tile of columns, and its share of dQ.
  void columns(int64_t batch, int64_t kv_head, int64_t column) {
    const int64_t n = std::min(kTileColumns, s_.k_length - column);
    k_sum_.assign(static_cast<size_t>(n * a_.dim), 0.0f);
    v_sum_.assign(static_cast<size_t>(n * a_.value_dim), 0.0f);
    for (int64_t h = 0; h < a_.group(); ++h)
      for (int64_t row = 0; row < s_.q_length; row += rows_) {
        ScoreTile t{batch, kv_head * a_.group() + h, row, std::min(rows_, s_.q_length - row), column, n};
        t.columns = std::min(n, row + t.rows - 1 + s_.diagonal - column);
        if (t.columns > 0) add(t, h);
      }
    for (int64_t j = 0; j < n; ++j) {
      if (to_.k.data) store(k_sum_.data() + j * a_.dim, a_.dim, to_.k.at(s_.k_begin + column + j, kv_head));
      if (to_.v.data) store(v_sum_.data() + j * a_.value_dim, a_.value_dim, to_.v.at(s_.k_begin + column + j, kv_head));
    }
  }

  void add(const ScoreTile& t, int64_t h) {
    const int64_t kv_head = t.head / a_.group(), m = t.rows, n = t.columns;
    const T* g = out_grad_.at(s_.q_begin + t.row, t.head);
    tile_scores(a_, s_, t, p_.data(), nullptr);
    gemm_tile<T>(false, true, m, n, a_.value_dim, g, out_grad_.row_stride, a_.v.at(s_.k_begin + t.column, kv_head),
                 a_.v.row_stride, 0.0f, dp_.data(), n);
    for (int64_t i = 0; i < m; ++i) slopes(t, i, delta_[static_cast<size_t>(h * s_.q_length + t.row + i)]);
    const T *p = operand(p_, p_rounded_), *ds = operand(dp_, ds_rounded_);
    gemm_tile<T>(true, false, n, a_.value_dim, m, p, n, g, out_grad_.row_stride, 1.0f, v_sum_.data(), a_.value_dim);
    gemm_tile<T>(true, false, n, a_.dim, m, ds, n, a_.q.at(s_.q_begin + t.row, t.head), a_.q.row_stride, 1.0f,
                 k_sum_.data(), a_.dim);
    gemm_tile<T>(false, false, m, a_.dim, n, ds, n, a_.k.at(s_.k_begin + t.column, kv_head), a_.k.row_stride, 1.0f,
                 q_sum_.data() + (h * s_.q_length + t.row) * a_.dim, a_.dim);
  }

  // Row i of the tile: scores to P, dP to dS.
  void slopes(const ScoreTile& t, int64_t i, float delta) {
    float *p = p_.data() + i * t.columns, *dp = dp_.data() + i * t.columns;
    const float lse = lse_[a_.lse_at(s_, t.head) + t.row + i];
    const auto scale = static_cast<float>(a_.scale);
    if (a_.dropout.p > 0)
      dropped_slopes(t, i, p, dp, lse, delta);
    else
      slopes_of_scores(p, dp, t.columns, lse, delta);
    const int64_t reach = columns_below_diagonal(s_, t, i);
    std::fill(p + reach, p + t.columns, 0.0f);  // where scores are -infinity, v may hold anything
    std::fill(dp + reach, dp + t.columns, 0.0f);
    if (to_.mask) store(dp, t.columns, to_.mask + mask_at(t, i));
    scale_scores(dp, t.columns, scale);
    if constexpr (is_half<T>) {
      round_scores(p, t.columns, p_rounded_.data() + i * t.columns);
      round_scores(dp, t.columns, ds_rounded_.data() + i * t.columns);
    }
  }

  // The same where some were dropped: p becomes those kept, enlarged.
  void dropped_slopes(const ScoreTile& t, int64_t i, float* p, float* dp, float lse, float delta) {
    const auto n = static_cast<size_t>(t.columns);
    const auto factor = static_cast<float>(1 / (1 - a_.dropout.p));
    keep_.resize(n);
    kept_.row(t, i, keep_.data());
    for (size_t j = 0; j < n; ++j) {
      const float whole = exp_of(p[j] - lse);
      p[j] = keep_[j] ? whole * factor : 0.0f;
      dp[j] = whole * ((keep_[j] ? dp[j] * factor : 0.0f) - delta);
    }
  }

  int64_t mask_at(const ScoreTile& t, int64_t i) const {
    return ((t.batch * a_.heads + t.head) * s_.q_length + t.row + i) * s_.k_length + t.column;
  }

  static void store(const float* from, int64_t n, T* to) {
    ADAPTER_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) to[j] = static_cast<T>(from[j]);
  }
  static const T* operand(const std::vector<float>& wide, const std::vector<T>& rounded) {
    if constexpr (is_half<T>)
      return rounded.data();
    else
      return wide.data();
  }

  const Attention<T>& a_;
  const KeptScores& kept_;
  Heads<const T> out_;
  const float* lse_;
  Heads<const T> out_grad_;
  const AttentionGradients<T>& to_;
  Sequence s_{};
  int64_t rows_ = 1;
  std::vector<float> p_, dp_, q_sum_, k_sum_, v_sum_, delta_;
  std::vector<T> p_rounded_, ds_rounded_;
  std::vector<uint8_t> keep_;
};

template <typename T>
void attention_backward(const Attention<T>& a, Heads<const T> out, const float* lse, Heads<const T> out_grad,
                        const AttentionGradients<T>& gradients) {
  const KeptScores kept(a);
  const int64_t parts = static_cast<int64_t>(a.sequences.size()) * a.kv_heads;
  host::parallel_for(parts, std::max<int64_t>(1, parts / 64), [&](int64_t begin, int64_t end) {
    HeadGroupGradient<T> gradient(a, kept, out, lse, out_grad, gradients);
    for (int64_t part = begin; part < end; ++part) gradient.run(part / a.kv_heads, part % a.kv_heads);
  });
}

#define ADAPTER_ATTENTION(T)                                                                          \
  template void attention_backward(const Attention<T>&, Heads<const T>, const float*, Heads<const T>, \
                                   const AttentionGradients<T>&);
ADAPTER_ATTENTION(float)
ADAPTER_ATTENTION(float16)
ADAPTER_ATTENTION(bfloat16)
#undef ADAPTER_ATTENTION

}  // namespace adapter::kernels
