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
  using C = Compute<T>;

  HeadGroupGradient(const Attention<T>& a, const KeptScores& kept, Heads<const T> out, const float* lse,
                    Heads<const T> out_grad, const AttentionGradients<T>& gradients)
      : a_(a), kept_(kept), out_(out), lse_(lse), out_grad_(out_grad), to_(gradients) {}

  void run(int64_t batch, int64_t kv_head) {
    s_ = a_.sequences[static_cast<size_t>(batch)];
    rows_ = tile_rows(s_.q_length);
    const auto tile = static_cast<size_t>(rows_ * kTileColumns);
    p_.resize(tile), dp_.resize(tile);
    if constexpr (is_half<T>) p_rounded_.resize(tile), ds_rounded_.resize(tile);
    q_sum_.assign(static_cast<size_t>(a_.group() * s_.q_length * a_.dim), C(0));
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
  void dot_out(int64_t head, C* delta) const {
    for (int64_t i = 0; i < s_.q_length; ++i) {
      const T *o = out_.at(s_.q_begin + i, head), *g = out_grad_.at(s_.q_begin + i, head);
      delta[i] = row_sum<C>(a_.value_dim, [=](int64_t d) { return static_cast<C>(o[d]) * static_cast<C>(g[d]); });
    }
  }

  // dK and dV of one tile of columns, and its share of dQ.
  void columns(int64_t batch, int64_t kv_head, int64_t column) {
    const int64_t n = std::min(kTileColumns, s_.k_length - column);
    k_sum_.assign(static_cast<size_t>(n * a_.dim), C(0));
    v_sum_.assign(static_cast<size_t>(n * a_.value_dim), C(0));
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
    tile_scores(a_, s_, t, p_.data());
    gemm_tile<T>(false, true, m, n, a_.value_dim, g, out_grad_.row_stride, a_.v.at(s_.k_begin + t.column, kv_head),
                 a_.v.row_stride, C(0), dp_.data(), n);
    for (int64_t i = 0; i < m; ++i) slopes(t, i, delta_[static_cast<size_t>(h * s_.q_length + t.row + i)]);
    const T *p = operand(p_, p_rounded_), *ds = operand(dp_, ds_rounded_);
    gemm_tile<T>(true, false, n, a_.value_dim, m, p, n, g, out_grad_.row_stride, C(1), v_sum_.data(), a_.value_dim);
    gemm_tile<T>(true, false, n, a_.dim, m, ds, n, a_.q.at(s_.q_begin + t.row, t.head), a_.q.row_stride, C(1),
                 k_sum_.data(), a_.dim);
    gemm_tile<T>(false, false, m, a_.dim, n, ds, n, a_.k.at(s_.k_begin + t.column, kv_head), a_.k.row_stride, C(1),
                 q_sum_.data() + (h * s_.q_length + t.row) * a_.dim, a_.dim);
  }

  // Row i of the tile: scores to P, dP to dS.
  void slopes(const ScoreTile& t, int64_t i, C delta) {
    C *p = p_.data() + i * t.columns, *dp = dp_.data() + i * t.columns;
    const C lse = lse_[a_.lse_at(s_, t.head) + t.row + i];
    const auto scale = static_cast<C>(a_.scale);
    ADAPTER_INDEPENDENT
    for (int64_t j = 0; j < t.columns; ++j) p[j] = exp_of(p[j] - lse);
    if (a_.dropout.p > 0) {
      drop(t, i, p, dp);
      for (int64_t j = 0; j < t.columns; ++j) {
        dp[j] = whole_[static_cast<size_t>(j)] * (dp[j] - delta);
      }
    } else {
      ADAPTER_INDEPENDENT
      for (int64_t j = 0; j < t.columns; ++j) dp[j] = p[j] * (dp[j] - delta);
    }
    const int64_t reach = columns_below_diagonal(s_, t, i);
    std::fill(p + reach, p + t.columns, C(0));  // where scores are -infinity, v may hold anything
    std::fill(dp + reach, dp + t.columns, C(0));
    if (to_.mask) store(dp, t.columns, to_.mask + mask_at(t, i));
    ADAPTER_INDEPENDENT
    for (int64_t j = 0; j < t.columns; ++j) dp[j] *= scale;
    if constexpr (is_half<T>) {
      store(p, t.columns, p_rounded_.data() + i * t.columns);
      store(dp, t.columns, ds_rounded_.data() + i * t.columns);
    }
  }

  // whole_ = P, p = those kept and enlarged, dp = 0 where dropped.
  void drop(const ScoreTile& t, int64_t i, C* p, C* dp) {
    const auto n = static_cast<size_t>(t.columns);
    const auto factor = static_cast<C>(1 / (1 - a_.dropout.p));
    keep_.resize(n);
    whole_.assign(p, p + n);
    kept_.row(t, i, keep_.data());
    for (size_t j = 0; j < n; ++j) p[j] = keep_[j] ? p[j] * factor : C(0), dp[j] = keep_[j] ? dp[j] * factor : C(0);
  }

  int64_t mask_at(const ScoreTile& t, int64_t i) const {
    return ((t.batch * a_.heads + t.head) * s_.q_length + t.row + i) * s_.k_length + t.column;
  }

  static void store(const C* from, int64_t n, T* to) {
    ADAPTER_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) to[j] = static_cast<T>(from[j]);
  }
  static const T* operand(const std::vector<C>& wide, const std::vector<T>& rounded) {
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
  std::vector<C> p_, dp_, whole_, q_sum_, k_sum_, v_sum_, delta_;
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
