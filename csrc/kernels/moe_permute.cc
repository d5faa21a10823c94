// Tokens in the order of their experts (moe_permute), and back (moe_unpermute).
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "rows.h"

namespace adapter::kernels {

// Each expert's rows start at a multiple of `alignment`; what is left over behind them is padding.
struct PermutePlan {
  int64_t tokens, topk, experts, alignment, rows;
  std::vector<int64_t> counts;  // rows of each expert as the caller gave them; empty: as the routing has them

  PermutePlan(const Tensor& routemap, int32_t experts_, const std::vector<int32_t>& tokens_per_expert,
              int32_t alignment_, int32_t override_buffer_size)
      : tokens(routemap.shape[0]),
        topk(routemap.shape[1]),
        experts(experts_),
        alignment(alignment_),
        rows(override_buffer_size) {
    if (alignment < 1) throw InvalidArgument("moe_permute: padding_alignment is " + std::to_string(alignment));
    if (override_buffer_size >= 0) return;
    if (static_cast<int64_t>(tokens_per_expert.size()) != experts)
      throw InvalidArgument("moe_permute: tokens_per_expert has " + std::to_string(tokens_per_expert.size()) +
                            " entries for " + std::to_string(experts) + " experts");
    counts.assign(tokens_per_expert.begin(), tokens_per_expert.end());
    rows = 0;
    for (int64_t count : counts) rows += aligned(count);
  }
  int64_t aligned(int64_t count) const { return (count + alignment - 1) / alignment * alignment; }

  // Number of tokens of each expert by the routing. Throws DeviceError for an expert that does not exist.
  std::vector<int64_t> routed(const int32_t* route) const {
    std::vector<int64_t> result(static_cast<size_t>(experts));
    for (int64_t i = 0; i < tokens * topk; ++i) {
      if (route[i] >= experts)
        throw DeviceError("moe_permute: expert " + std::to_string(route[i]) + " of " + std::to_string(experts));
      if (route[i] >= 0 && first_of_its_row(route, i)) ++result[static_cast<size_t>(route[i])];
    }
    return result;
  }
  // A token goes to an expert once, however often the routing names it.
  bool first_of_its_row(const int32_t* route, int64_t i) const {
    const int32_t* row = route + i / topk * topk;
    return std::find(row, route + i, route[i]) == route + i;
  }
};

struct PermuteResult {
  std::vector<int64_t> token_of, choice_of;  // of each row; -1 for padding
};

// Fills rowmap ([tokens, experts]: the row of a token at an expert, or -1) and says where rows come from. Throws
// DeviceError where an expert gets more tokens than there is room for.
inline PermuteResult permute_rows(const PermutePlan& plan, const int32_t* route, int32_t* rowmap, int32_t* expert_of) {
  const std::vector<int64_t> routed = plan.routed(route);
  const std::vector<int64_t>& counts = plan.counts.empty() ? routed : plan.counts;
  std::vector<int64_t> next(static_cast<size_t>(plan.experts));
  int64_t total = 0;
  for (size_t e = 0; e < next.size(); ++e) {
    if (routed[e] > counts[e])
      throw DeviceError("moe_permute: expert " + std::to_string(e) + " gets " + std::to_string(routed[e]) +
                        " tokens, tokens_per_expert says " + std::to_string(counts[e]));
    next[e] = total;
    total += plan.aligned(counts[e]);
  }
  if (total > plan.rows)
    throw DeviceError("moe_permute: " + std::to_string(total) + " rows do not fit a buffer of " +
                      std::to_string(plan.rows));
  PermuteResult result{std::vector<int64_t>(static_cast<size_t>(plan.rows), -1),
                       std::vector<int64_t>(static_cast<size_t>(plan.rows), -1)};
  std::fill(rowmap, rowmap + plan.tokens * plan.experts, -1);
  if (expert_of) std::fill(expert_of, expert_of + plan.rows, -1);
  for (int64_t i = 0; i < plan.tokens * plan.topk; ++i) {
    if (route[i] < 0 || !plan.first_of_its_row(route, i)) continue;
    const int64_t row = next[static_cast<size_t>(route[i])]++;
    rowmap[i / plan.topk * plan.experts + route[i]] = static_cast<int32_t>(row);
    result.token_of[static_cast<size_t>(row)] = i / plan.topk;
    result.choice_of[static_cast<size_t>(row)] = i;
    if (expert_of) expert_of[row] = route[i];
  }
  return result;
}

// Gives an output that nothing is written to the shape Paddle inferred, or none.
template <typename T>
void allocate_unused(Context& ctx, Output& out) {
  if (!out) return;
  if (!out.shape.known()) ctx.resize(out, Shape{0});
  T* r = host::out<T>(ctx, out);
  const int64_t n = out.shape.numel();
  host::launch(ctx, [=] { fill_all(r, n, T(0)); });
}

// x_scale's rows (4 bytes an element) go along with x's.
template <typename T>
void moe_permute(Context& ctx, const Tensor& x, const OptionalTensor& x_scale, const Tensor& expert_routemap_topk,
                 const Tensor& expert_prob_topk, int32_t num_experts, const std::vector<int32_t>& tokens_per_expert,
                 int32_t padding_alignment, bool do_gather, bool /*using_ue8m0_scale*/, bool return_expert_indices,
                 int32_t override_buffer_size, Output& x_unzipped, Output& rowmap, Output& prob_unzipped,
                 Output& scale_unzipped, Output& expert_indices) {
  if (x.shape.rank != 2 || expert_routemap_topk.shape.rank != 2 || expert_routemap_topk.shape[0] != x.shape[0] ||
      expert_routemap_topk.dtype != DType::int32 || expert_prob_topk.shape != expert_routemap_topk.shape)
    throw InvalidArgument("moe_permute: x of shape " + to_string(x.shape) + ", routing of " +
                          to_string(expert_routemap_topk.shape) + ", probabilities of " +
                          to_string(expert_prob_topk.shape));
  const PermutePlan plan(expert_routemap_topk, num_experts, tokens_per_expert, padding_alignment, override_buffer_size);
  const int64_t width = x.shape[1];
  if (do_gather || !x_unzipped.shape.known()) ctx.resize(x_unzipped, {plan.rows, width});
  ctx.resize(rowmap, {plan.tokens, plan.experts});
  if (!prob_unzipped.shape.known() || prob_unzipped.shape.numel() != plan.rows) ctx.resize(prob_unzipped, {plan.rows});
  T* r = host::out<T>(ctx, x_unzipped);
  int32_t* map = host::out<int32_t>(ctx, rowmap);
  float* probabilities = host::out<float>(ctx, prob_unzipped);
  const bool scaled = x_scale && do_gather;
  const int64_t scale_width = scaled ? x_scale.shape[1] : 0;
  if (scaled && size_of(x_scale.dtype) != 4) throw InvalidArgument("moe_permute: a scale is neither float32 nor int32");
  void* scales = nullptr;
  if (scaled && scale_unzipped) {
    ctx.resize(scale_unzipped, {plan.rows, scale_width});
    scales = host::out(ctx, scale_unzipped, x_scale.dtype);
  } else {
    allocate_unused<float>(ctx, scale_unzipped);
  }
  int32_t* experts = nullptr;
  if (expert_indices && return_expert_indices) {
    ctx.resize(expert_indices, {plan.rows});
    experts = host::out<int32_t>(ctx, expert_indices);
  } else {
    allocate_unused<int32_t>(ctx, expert_indices);
  }
  const T* a = host::in<T>(x);
  const int32_t* route = host::in<int32_t>(expert_routemap_topk);
  const auto* scale_rows = scaled ? static_cast<const int32_t*>(host::alias(x_scale.data)) : nullptr;
  visit_dtype<float, bfloat16, float16>(expert_prob_topk.dtype, "a probability", [&](auto tag) {
    const auto* given = host::in<typename decltype(tag)::type>(expert_prob_topk);
    host::launch(ctx, [=] {
      const PermuteResult rows = permute_rows(plan, route, map, experts);
      for (int64_t i = 0; i < plan.rows; ++i) {
        const int64_t choice = rows.choice_of[static_cast<size_t>(i)];
        probabilities[i] = choice < 0 ? 0.0f : static_cast<float>(given[choice]);
      }
      if (do_gather) take_rows(Tables(1, plan.tokens, width), rows.token_of, a, r);
      if (scales)
        take_rows(Tables(1, plan.tokens, scale_width), rows.token_of, scale_rows, static_cast<int32_t*>(scales));
    });
  });
}

// The form of Paddle before 3.3.1.
template <typename T>
void moe_permute_3_2(Context& ctx, const Tensor& x, const OptionalTensor& x_scale, const Tensor& expert_routemap_topk,
                     const Tensor& expert_prob_topk, int32_t num_experts, const std::vector<int32_t>& tokens_per_expert,
                     int32_t padding_alignment, bool do_gather, Output& x_unzipped, Output& rowmap,
                     Output& prob_unzipped, Output& scale_unzipped) {
  Output none;
  moe_permute<T>(ctx, x, x_scale, expert_routemap_topk, expert_prob_topk, num_experts, tokens_per_expert,
                 padding_alignment, do_gather, false, false, -1, x_unzipped, rowmap, prob_unzipped, scale_unzipped,
                 none);
}

// out[t] = sum over experts of the token's rows, times their probability where `weighted`. Held in float32 whether
// mixed precision is asked for or not.
template <typename T>
void moe_unpermute(Context& ctx, const Tensor& unzipped_tokens, const Tensor& rowmap,
                   const Tensor& expert_routemap_topk, const Tensor& token_probs, int32_t total_tokens,
                   int32_t num_experts, bool /*use_mix_precision*/, bool using_weighted_combine, Output& tokens_out,
                   Output& probs_out) {
  using Sum = Accumulator<T>;
  const int64_t tokens = total_tokens, experts = num_experts, topk = expert_routemap_topk.shape[1];
  const int64_t rows = unzipped_tokens.shape[0], width = unzipped_tokens.shape[1];
  if (rowmap.shape != Shape{tokens, experts} || expert_routemap_topk.shape[0] != tokens || token_probs.numel() != rows)
    throw InvalidArgument("moe_unpermute: rows of shape " + to_string(unzipped_tokens.shape) + ", row map of " +
                          to_string(rowmap.shape) + ", routing of " + to_string(expert_routemap_topk.shape) +
                          ", probabilities of " + to_string(token_probs.shape));
  if (token_probs.dtype != DType::float32) throw InvalidArgument("moe_unpermute: probabilities are not float32");
  ctx.resize(tokens_out, {tokens, width});
  ctx.resize(probs_out, {tokens, topk});
  T* r = host::out<T>(ctx, tokens_out);
  float* probs = host::out<float>(ctx, probs_out);
  const T* a = host::in<T>(unzipped_tokens);
  const int32_t *map = host::in<int32_t>(rowmap), *route = host::in<int32_t>(expert_routemap_topk);
  const float* given = host::in<float>(token_probs);
  host::launch(ctx, [=] {
    const auto row_at = [=](int64_t t, int64_t e) {
      const int64_t row = map[t * experts + e];
      return row < 0 ? -1 : checked_row("moe_unpermute", row, t * experts + e, rows);
    };
    host::parallel_for(tokens, host::rows_grain(width * 2 + experts), [&](int64_t begin, int64_t end) {
      std::vector<Sum> sums(static_cast<size_t>(width));
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t k = t * topk; k < (t + 1) * topk; ++k) {
          const int64_t row = route[k] < 0 || route[k] >= experts ? -1 : row_at(t, route[k]);
          probs[k] = row < 0 ? 0.0f : given[row];
        }
        std::fill(sums.begin(), sums.end(), Sum(0));
        for (int64_t e = 0; e < experts; ++e) {
          const int64_t row = row_at(t, e);
          if (row < 0) continue;
          const Sum weight = using_weighted_combine ? static_cast<Sum>(given[row]) : Sum(1);
          const T* own = a + row * width;
          Sum* sum = sums.data();
          for (int64_t j = 0; j < width; ++j) sum[j] += weight * static_cast<Sum>(static_cast<Compute<T>>(own[j]));
        }
        for (int64_t j = 0; j < width; ++j) r[t * width + j] = static_cast<T>(sums[static_cast<size_t>(j)]);
      }
    });
  });
}

// The form of Paddle before 3.3.1.
template <typename T>
void moe_unpermute_3_2(Context& ctx, const Tensor& unzipped_tokens, const Tensor& rowmap,
                       const Tensor& expert_routemap_topk, const Tensor& token_probs, int32_t total_tokens,
                       int32_t num_experts, bool use_mix_precision, Output& tokens_out, Output& probs_out) {
  moe_unpermute<T>(ctx, unzipped_tokens, rowmap, expert_routemap_topk, token_probs, total_tokens, num_experts,
                   use_mix_precision, false, tokens_out, probs_out);
}

ADAPTER_FUSED_KERNEL("moe_permute", moe_permute, none, float, float16, bfloat16)
ADAPTER_FUSED_KERNEL("moe_permute", moe_permute_3_2, none, float, float16, bfloat16)
ADAPTER_FUSED_KERNEL("moe_unpermute", moe_unpermute, wide, float, float16, bfloat16)
ADAPTER_FUSED_KERNEL("moe_unpermute", moe_unpermute_3_2, wide, float, float16, bfloat16)

}  // namespace adapter::kernels
