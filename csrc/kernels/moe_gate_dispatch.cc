// Each token goes to the k experts that its gate likes best: its row is copied into their buffers.
#include <cmath>
#include <string>
#include <vector>

#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "rows.h"

namespace adapter::kernels {

// Experts have `capacity` rows each (pad), or as many as they got, one expert's behind the other's.
struct GatePlan {
  int64_t tokens, experts, k, capacity;
  bool pad;

  int64_t buffer_rows() const { return pad ? experts * capacity : tokens * k; }
};

// The k best experts of a token by score + bias; of equals the first. A NaN is worse than every number.
inline void choose_experts(const float* scores, const float* bias, const GatePlan& plan, int32_t* chosen) {
  const auto score = [=](int64_t e) { return bias ? scores[e] + bias[e] : scores[e]; };
  for (int64_t slot = 0; slot < plan.k; ++slot) {
    int64_t best = -1;
    for (int64_t e = 0; e < plan.experts; ++e) {
      if (std::find(chosen, chosen + slot, static_cast<int32_t>(e)) != chosen + slot) continue;
      const bool better = best < 0 || score(e) > score(best) || (std::isnan(score(best)) && !std::isnan(score(e)));
      if (better) best = e;
    }
    chosen[slot] = static_cast<int32_t>(best);
  }
}

// Where the outputs lie: weights and expert_id are [tokens, k], scatter_index is [k, tokens].
struct GateOutputs {
  float* weights;
  int32_t *scatter, *expert;
  int64_t* offset;  // of each expert: the choices that fell on it or on one before it
};

// Fills the outputs and returns the token of each row of the buffers, -1 where there is none. An expert takes first
// choices before second ones where it has a capacity to keep, else tokens as they come; what does not fit is dropped:
// its weight and index become 0.
inline std::vector<int64_t> place_tokens(const GatePlan& plan, const float* gate, const float* bias,
                                         const GateOutputs& out) {
  host::parallel_for(plan.tokens, host::rows_grain(plan.experts * plan.k), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      choose_experts(gate + t * plan.experts, bias, plan, out.expert + t * plan.k);
      for (int64_t slot = 0; slot < plan.k; ++slot)
        out.weights[t * plan.k + slot] = gate[t * plan.experts + out.expert[t * plan.k + slot]];
    }
  });
  std::fill(out.offset, out.offset + plan.experts, int64_t{0});
  for (int64_t i = 0; i < plan.tokens * plan.k; ++i) ++out.offset[out.expert[i]];
  std::vector<int64_t> start(static_cast<size_t>(plan.experts)), taken(static_cast<size_t>(plan.experts));
  for (int64_t e = 1; e < plan.experts; ++e) {
    start[static_cast<size_t>(e)] = out.offset[e - 1];
    out.offset[e] += out.offset[e - 1];
  }
  std::vector<int64_t> token_of(static_cast<size_t>(plan.buffer_rows()), -1);
  for (int64_t i = 0; i < plan.tokens * plan.k; ++i) {
    const int64_t token = plan.pad ? i % plan.tokens : i / plan.k, slot = plan.pad ? i / plan.tokens : i % plan.k;
    const auto e = static_cast<size_t>(out.expert[token * plan.k + slot]);
    const int64_t row = taken[e]++;
    const bool fits = row < plan.capacity;
    const int64_t place = (plan.pad ? static_cast<int64_t>(e) * plan.capacity : start[e]) + row;
    out.scatter[slot * plan.tokens + token] = fits ? static_cast<int32_t>(place) : 0;
    if (fits)
      token_of[static_cast<size_t>(place)] = token;
    else
      out.weights[token * plan.k + slot] = 0;
  }
  return token_of;
}

template <typename T>
void moe_gate_dispatch(Context& ctx, const Tensor& x, const Tensor& gate_logits, const OptionalTensor& corr_bias,
                       int64_t k, int64_t capacity, bool use_pad, Output& y, Output& combine_weights,
                       Output& scatter_index, Output& expert_offset, Output& expert_id) {
  const Shape &xs = x.shape, &gs = gate_logits.shape;
  if (xs.rank != 2 || gs.rank != 2 || gs[0] != xs[0])
    throw InvalidArgument("moe_gate_dispatch: x of shape " + to_string(xs) + " and gate_logits of " + to_string(gs));
  if (gate_logits.dtype != DType::float32 || (corr_bias && corr_bias.dtype != DType::float32))
    throw InvalidArgument("moe_gate_dispatch: gate_logits and corr_bias have to be float32");
  if (k < 1 || k > gs[1] || capacity < 0)
    throw InvalidArgument("moe_gate_dispatch: k = " + std::to_string(k) + " of " + std::to_string(gs[1]) +
                          " experts, capacity " + std::to_string(capacity));
  if (corr_bias && corr_bias.numel() != gs[1])
    throw InvalidArgument("moe_gate_dispatch: corr_bias of shape " + to_string(corr_bias.shape));
  const GatePlan plan{xs[0], gs[1], k, capacity, use_pad};
  ctx.resize(y, {plan.buffer_rows(), xs[1]});
  ctx.resize(combine_weights, {plan.tokens, k});
  ctx.resize(scatter_index, {k, plan.tokens});
  ctx.resize(expert_offset, {plan.experts});
  ctx.resize(expert_id, {plan.tokens, k});
  T* r = host::out<T>(ctx, y);
  const GateOutputs out{host::out<float>(ctx, combine_weights), host::out<int32_t>(ctx, scatter_index),
                        host::out<int32_t>(ctx, expert_id), host::out<int64_t>(ctx, expert_offset)};
  const T* a = host::in<T>(x);
  const float* gate = host::in<float>(gate_logits);
  const float* bias = corr_bias ? host::in<float>(corr_bias) : nullptr;
  host::launch(ctx,
               [=, tables = Tables(1, xs[0], xs[1])] { take_rows(tables, place_tokens(plan, gate, bias, out), a, r); });
}

// A token's gradient is the sum of its copies' gradients; a gate's is its weight's. Dropped choices have none.
template <typename T>
void moe_gate_dispatch_grad(Context& ctx, const Tensor& combine_weights, const Tensor& scatter_index,
                            const Tensor& expert_id, const Tensor& y_grad, const Tensor& combine_weights_grad,
                            int64_t k, int64_t capacity, bool /*use_pad*/, Output& x_grad, Output& gate_logits_grad) {
  const int64_t tokens = combine_weights.shape[0], width = y_grad.shape[y_grad.shape.rank - 1];
  const int64_t rows = y_grad.shape.product(0, y_grad.shape.rank - 1);
  T* dx = nullptr;
  float* dgate = nullptr;
  int64_t experts = 0;
  if (x_grad) {
    ctx.resize(x_grad, {tokens, width});
    dx = host::out<T>(ctx, x_grad);
  }
  if (gate_logits_grad) {
    const Shape& shape = gate_logits_grad.shape;
    experts = shape.rank == 2 && shape.known() ? shape[1] : capacity > 0 ? rows / capacity : 0;
    ctx.resize(gate_logits_grad, {tokens, experts});
    dgate = host::out<float>(ctx, gate_logits_grad);
  }
  const float *weights = host::in<float>(combine_weights), *dweights = host::in<float>(combine_weights_grad);
  const int32_t *scatter = host::in<int32_t>(scatter_index), *expert = host::in<int32_t>(expert_id);
  const T* g = host::in<T>(y_grad);
  host::launch(ctx, [=] {
    host::parallel_for(tokens, host::rows_grain(k * width + experts), [&](int64_t begin, int64_t end) {
      std::vector<Accumulator<T>> sums(static_cast<size_t>(width));
      for (int64_t t = begin; t < end; ++t) {
        std::fill(sums.begin(), sums.end(), Accumulator<T>(0));
        if (dgate) std::fill(dgate + t * experts, dgate + (t + 1) * experts, 0.0f);
        for (int64_t slot = 0; slot < k; ++slot) {
          if (!(weights[t * k + slot] > 0)) continue;
          if (dgate)
            dgate[t * experts + checked_row("moe_gate_dispatch_grad", expert[t * k + slot], t, experts)] =
                dweights[t * k + slot];
          const T* own = g + checked_row("moe_gate_dispatch_grad", scatter[slot * tokens + t], t, rows) * width;
          for (int64_t j = 0; j < width; ++j)
            sums[static_cast<size_t>(j)] += static_cast<Accumulator<T>>(static_cast<Compute<T>>(own[j]));
        }
        for (int64_t j = 0; dx && j < width; ++j) dx[t * width + j] = static_cast<T>(sums[static_cast<size_t>(j)]);
      }
    });
  });
}

ADAPTER_FUSED_KERNEL("moe_gate_dispatch", moe_gate_dispatch, none, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("moe_gate_dispatch_grad", moe_gate_dispatch_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
