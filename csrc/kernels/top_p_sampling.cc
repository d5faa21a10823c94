// One token of each row of probabilities, among the most probable ones that together reach top_p.
#include <cmath>
#include <string>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "dispatch.h"
#include "philox.h"
#include "sorting.h"

namespace adapter::kernels {

// A number for each row, in T or float32; absent: `fallback`.
struct RowNumbers {
  const void* data = nullptr;
  DType dtype = DType::float32;
  double fallback = 0;

  RowNumbers(const OptionalTensor& tensor, int64_t rows, const char* what) : dtype(tensor.dtype) {
    if (!tensor) return;
    if (tensor.numel() != rows)
      throw InvalidArgument("top_p_sampling: " + std::string(what) + " of shape " + to_string(tensor.shape) + " for " +
                            std::to_string(rows) + " rows");
    visit_dtype<float, double, float16, bfloat16>(
        dtype, what, [&](auto tag) { data = host::in<typename decltype(tag)::type>(tensor); });
  }
  double operator()(int64_t row) const {
    if (data == nullptr) return fallback;
    double value = 0;
    visit_dtype<float, double, float16, bfloat16>(dtype, "a number", [&](auto tag) {
      value = static_cast<double>(static_cast<const typename decltype(tag)::type*>(data)[row]);
    });
    return value;
  }
};

// A row in descending order, sorted as far as it is asked for.
template <typename T>
class SortedRow {
 public:
  SortedRow(const T* row, int64_t length) : row_(row), length_(length) {}
  int64_t length() const { return length_; }
  int64_t place(int64_t rank) {
    if (rank >= sorted_) {
      sorted_ = std::min(length_, std::max<int64_t>(64, 8 * rank));
      sorted_slice(row_, length_, 1, sorted_, true, items_);
    }
    return position_of(items_[static_cast<size_t>(rank)]);
  }
  double value(int64_t rank) { return static_cast<double>(row_[place(rank)]); }

 private:
  const T* row_;
  int64_t length_, sorted_ = 0;
  std::vector<SortItemFor<T>> items_;
};

// Rank at which the sum of probabilities reaches `target`, or -1 where it never does.
template <typename T>
int64_t rank_reaching(SortedRow<T>& row, double target) {
  double sum = 0;
  for (int64_t i = 0; i < row.length(); ++i) {
    sum += row.value(i);
    if (sum >= target) return i;
  }
  return -1;
}

// Inverse of the distribution function: the rank that a uniform number falls on, or the nearest before it that is not
// below the threshold.
template <typename T>
int64_t sample_truncated(SortedRow<T>& row, double top_p, double threshold, double uniform) {
  int64_t rank = rank_reaching(row, uniform * top_p);
  while (rank > 0 && row.value(rank) < threshold) --rank;
  return std::max<int64_t>(rank, 0);
}

// A race: every candidate arrives after an exponential time, scaled by its probability; the first one wins.
template <typename T>
int64_t sample_race(SortedRow<T>& row, double top_p, double threshold, const RandomDraw& draw, int64_t first) {
  const int64_t reached = rank_reaching(row, top_p);
  if (reached < 0) return 0;
  int64_t best = 0;
  double best_speed = 0;
  for (int64_t i = 0; i <= reached; ++i) {
    const double value = row.value(i), speed = value / -std::log1p(-draw.unit(first + i));
    if (value >= threshold && speed > best_speed) best = i, best_speed = speed;
  }
  return best;
}

// Seeds: one for each row, or `seed` for all (with the same numbers in every row), or, for -1, the card's generator.
template <typename T>
void top_p_sampling(Context& ctx, const Tensor& x, const Tensor& ps, const OptionalTensor& threshold,
                    const OptionalTensor& topp_seed, int64_t seed, int32_t k, const std::string& mode, Output& out,
                    Output& ids, Output& topk_scores, Output& topk_ids) {
  if (x.shape.rank != 2) throw InvalidArgument("top_p_sampling of probabilities of shape " + to_string(x.shape));
  const int64_t rows = x.shape[0], length = x.shape[1];
  if (length == 0 && rows > 0) throw InvalidArgument("top_p_sampling of rows without elements");
  if (k < 0 || k > length)
    throw InvalidArgument("top_p_sampling: the best " + std::to_string(k) + " of " + std::to_string(length));
  OptionalTensor targets;
  static_cast<Tensor&>(targets) = ps;
  const RowNumbers top_p(targets, rows, "ps"), least(threshold, rows, "threshold");
  if (topp_seed && (topp_seed.dtype != DType::int64 || topp_seed.numel() != rows))
    throw InvalidArgument("top_p_sampling: topp_seed is not one int64 for each row");
  ctx.resize(out, {rows, 1});
  ctx.resize(ids, {rows, 1});
  T* values = host::out<T>(ctx, out);
  int64_t* places = host::out<int64_t>(ctx, ids);
  T* scores = nullptr;
  int64_t* score_ids = nullptr;
  if (topk_scores) {
    ctx.resize(topk_scores, {rows, k});
    scores = host::out<T>(ctx, topk_scores);
  }
  if (topk_ids) {
    ctx.resize(topk_ids, {rows, k});
    score_ids = host::out<int64_t>(ctx, topk_ids);
  }
  std::array<uint64_t, 2> common{static_cast<uint64_t>(seed), 0};
  const bool from_generator = !topp_seed && seed == -1;
  if (from_generator) common = ctx.random(1);
  const int64_t* seeds = topp_seed ? host::in<int64_t>(topp_seed) : nullptr;
  const T* a = host::in<T>(x);
  const bool truncated = mode == "truncated";
  host::launch(ctx, [=] {
    host::parallel_for(rows, host::rows_grain(8 * length), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        SortedRow<T> row(a + i * length, length);
        for (int64_t j = 0; j < k; ++j) {
          if (score_ids) score_ids[i * k + j] = row.place(j);
          if (scores) scores[i * k + j] = a[i * length + row.place(j)];
        }
        const RandomDraw draw(seeds ? static_cast<uint64_t>(seeds[i]) : common[0], seeds ? 0 : common[1]);
        const int64_t first = from_generator ? i * (truncated ? 1 : length) : 0;
        const int64_t rank = truncated ? sample_truncated(row, top_p(i), least(i), draw.unit(first))
                                       : sample_race(row, top_p(i), least(i), draw, first);
        places[i] = row.place(rank);
        values[i] = a[i * length + places[i]];
      }
    });
  });
}

// Paddle before 3.3.0 passes the seed as an int.
template <typename T>
void top_p_sampling_int_seed(Context& ctx, const Tensor& x, const Tensor& ps, const OptionalTensor& threshold,
                             const OptionalTensor& topp_seed, int32_t seed, int32_t k, const std::string& mode,
                             Output& out, Output& ids, Output& topk_scores, Output& topk_ids) {
  top_p_sampling<T>(ctx, x, ps, threshold, topp_seed, seed, k, mode, out, ids, topk_scores, topk_ids);
}

ADAPTER_FUSED_KERNEL("top_p_sampling", top_p_sampling, none, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("top_p_sampling", top_p_sampling_int_seed, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
