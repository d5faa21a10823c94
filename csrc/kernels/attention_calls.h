// What the attention operators of Paddle have in common: their tensors as an Attention, their seeds and their lse.
#pragma once

#include <string>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "attention.h"

namespace adapter::kernels {

// q [..., heads, dim], k [..., kv_heads, dim], v [..., kv_heads, value_dim], without its sequences.
template <typename T>
Attention<T> attention_of(const char* name, const Tensor& q, const Tensor& k, const Tensor& v) {
  const int rank = q.shape.rank;
  if (rank < 3 || k.shape.rank != rank || v.shape.rank != rank)
    throw InvalidArgument(std::string(name) + ": q, k and v need as many axes, at least 3; got " + to_string(q.shape) +
                          ", " + to_string(k.shape) + ", " + to_string(v.shape));
  Attention<T> a;
  a.heads = q.shape[rank - 2], a.kv_heads = k.shape[rank - 2];
  a.dim = q.shape[rank - 1], a.value_dim = v.shape[rank - 1];
  if (k.shape[rank - 1] != a.dim || v.shape[rank - 2] != a.kv_heads || k.shape[rank - 3] != v.shape[rank - 3] ||
      a.kv_heads == 0 || a.heads % a.kv_heads != 0)
    throw InvalidArgument(std::string(name) + ": q " + to_string(q.shape) + ", k " + to_string(k.shape) + " and v " +
                          to_string(v.shape) + " do not fit: heads of q must be a multiple of those of k and v");
  a.q = packed_heads(host::in<T>(q), a.heads, a.dim);
  a.k = packed_heads(host::in<T>(k), a.kv_heads, a.dim);
  a.v = packed_heads(host::in<T>(v), a.kv_heads, a.value_dim);
  a.scale = a.dim > 0 ? 1 / std::sqrt(static_cast<double>(a.dim)) : 1;
  return a;
}

// Where Paddle keeps the logarithms of a call: [batch, heads, rows rounded up], or [heads, all rows].
inline Shape lse_shape(const Shape& inferred, int64_t batch, int64_t heads, int64_t rows) {
  if (inferred.rank == 3 && inferred[0] == batch && inferred[1] == heads && inferred[2] >= rows) return inferred;
  return {batch, heads, (rows + 127) / 128 * 128};
}

// The sequences of a batch of equal lengths: q [batch, q_length, ...], k [batch, k_length, ...].
template <typename T>
void set_batch(Attention<T>& a, const Tensor& q, const Tensor& k, const Shape& lse) {
  const int64_t batch = q.shape[0], rows = q.shape[1], columns = k.shape[1];
  a.lse_head_stride = lse.rank == 0 ? 0 : lse[lse.rank - 1];
  for (int64_t i = 0; i < batch; ++i)
    a.sequences.push_back({i * rows, rows, i * columns, columns, i * a.heads * a.lse_head_stride, kNoDiagonal});
}

// Causal with the last row seeing every column, as FlashAttention since 2.1.
template <typename T>
void set_bottom_right_causal(Attention<T>& a) {
  for (Sequence& s : a.sequences) s.diagonal = s.k_length - s.q_length + 1;
}

// Sequences one after another, from their bounds in device memory (batch + 1 of each). To be called inside launch().
template <typename T>
void set_packed(Attention<T>& a, int64_t batch, const int32_t* q_bounds, const int32_t* k_bounds, const Shape& lse) {
  const bool by_row = lse.rank == 2;  // [heads, all rows]
  a.lse_head_stride = lse.rank == 0 ? 0 : lse[lse.rank - 1];
  for (int64_t i = 0; i < batch; ++i)
    a.sequences.push_back({q_bounds[i], q_bounds[i + 1] - q_bounds[i], k_bounds[i], k_bounds[i + 1] - k_bounds[i],
                           by_row ? q_bounds[i] : i * a.heads * a.lse_head_stride, kNoDiagonal});
}

// A mask [batch or 1, heads or 1, rows or 1, columns] that is added to the scores.
template <typename T>
ScoreMask<T> score_mask(const char* name, const Tensor& mask, int64_t batch, int64_t heads, int64_t rows,
                        int64_t columns) {
  const Shape& s = mask.shape;
  const auto fits = [](int64_t size, int64_t wanted) { return size == 1 || size == wanted; };
  if (mask.dtype != dtype_of<T>)
    throw InvalidArgument(std::string(name) + ": a mask is added to the scores and has q's dtype, " +
                          name_of(dtype_of<T>) + "; got " + name_of(mask.dtype));
  if (s.rank != 4 || !fits(s[0], batch) || !fits(s[1], heads) || !fits(s[2], rows) || s[3] != columns)
    throw InvalidArgument(std::string(name) + ": a mask of shape " + to_string(s) + " does not fit scores of shape " +
                          to_string(Shape{batch, heads, rows, columns}));
  return {host::in<T>(mask), s[0] == 1 ? 0 : s[1] * s[2] * columns, s[1] == 1 ? 0 : s[2] * columns,
          s[2] == 1 ? 0 : columns};
}

// Draws for a call with dropout, and writes {seed, number} where the backward pass finds it.
inline ScoreDropout draw_dropout(Context& ctx, const OptionalTensor& fixed, double p, bool is_test,
                                 Output& seed_offset) {
  if (!(p >= 0 && p <= 1)) throw InvalidArgument("attention: dropout " + std::to_string(p) + " is outside [0, 1]");
  ScoreDropout dropout;
  dropout.p = is_test ? 0 : p;
  if (dropout.p > 0) {
    int64_t given[2];
    if (fixed) {
      if (fixed.numel() != 2 || fixed.dtype != DType::int64)
        throw InvalidArgument("attention: fixed_seed_offset is two int64, got " + to_string(fixed.shape) + " " +
                              name_of(fixed.dtype));
      ctx.read(given, fixed);
      dropout.seed = static_cast<uint64_t>(given[0]), dropout.number = static_cast<uint64_t>(given[1]);
    } else {
      const auto [seed, number] = ctx.random(1);
      dropout.seed = seed, dropout.number = number;
    }
  }
  if (seed_offset) {
    ctx.resize(seed_offset, {2});
    int64_t* r = host::out<int64_t>(ctx, seed_offset);
    host::launch(ctx, [=] { r[0] = static_cast<int64_t>(dropout.seed), r[1] = static_cast<int64_t>(dropout.number); });
  }
  return dropout;
}

// The draw that the forward pass left. To be called inside launch().
inline ScoreDropout drawn_dropout(double p, const int64_t* seed_offset) {
  if (p == 0) return {};
  return {p, static_cast<uint64_t>(seed_offset[0]), static_cast<uint64_t>(seed_offset[1])};
}

// Memory for the gradients that are wanted; heads as those of the operands.
template <typename T>
AttentionGradients<T> gradients_of(Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v, Output& q_grad,
                                   Output& k_grad, Output& v_grad) {
  const auto heads = [&](Output& grad, const Tensor& like) -> Heads<T> {
    if (!grad) return {};
    ctx.resize(grad, like.shape);
    const int rank = like.shape.rank;
    return packed_heads(host::out<T>(ctx, grad), like.shape[rank - 2], like.shape[rank - 1]);
  };
  return {heads(q_grad, q), heads(k_grad, k), heads(v_grad, v), nullptr};
}

// Rows of padding in lse, and those of no sequence, hold 0.
inline float* lse_of(Context& ctx, Output& lse, const Shape& shape) {
  if (!lse) return nullptr;
  ctx.resize(lse, shape);
  float* r = host::out<float>(ctx, lse);
  const int64_t n = shape.numel();
  host::launch(ctx, [=] { std::fill(r, r + n, 0.0f); });
  return r;
}

// The forward call of flash_attn and of flashmask_attention for the problem `a`: out [batch, rows, heads, value_dim];
// softmax [batch, heads, rows, columns], both rounded up to 128.
template <typename T>
void flash_forward(Context& ctx, const Attention<T>& a, const Tensor& q, const Tensor& k, const Shape& lse,
                   bool return_softmax, Output& out, Output& softmax, Output& softmax_lse) {
  ctx.resize(out, {q.shape[0], q.shape[1], a.heads, a.value_dim});
  const Heads<T> result = packed_heads(host::out<T>(ctx, out), a.heads, a.value_dim);
  float* logs = lse_of(ctx, softmax_lse, lse);
  const int64_t rows = (q.shape[1] + 127) / 128 * 128, columns = (k.shape[1] + 127) / 128 * 128;
  T* probabilities = nullptr;
  if (softmax) {
    ctx.resize(softmax, return_softmax ? Shape{q.shape[0], a.heads, rows, columns} : Shape{0});
    probabilities = host::out<T>(ctx, softmax);
  }
  host::launch(ctx, [=] {
    attention_forward(a, result, logs);
    if (return_softmax && probabilities && logs) attention_probabilities(a, logs, rows, columns, probabilities);
  });
}

// Their backward call: the dropout is drawn again from what the forward call left in seed_offset.
template <typename T>
void flash_backward(Context& ctx, Attention<T> a, const Tensor& out, const Tensor& softmax_lse,
                    const Tensor& seed_offset, const Tensor& out_grad, float dropout,
                    const AttentionGradients<T>& gradients) {
  const Heads<const T> result = packed_heads(host::in<T>(out), a.heads, a.value_dim);
  const Heads<const T> flow = packed_heads(host::in<T>(out_grad), a.heads, a.value_dim);
  const float* logs = host::in<float>(softmax_lse);
  const int64_t* drawn = host::in<int64_t>(seed_offset);
  host::launch(ctx, [=]() mutable {
    a.dropout = drawn_dropout(dropout, drawn);
    attention_backward(a, result, logs, flow, gradients);
  });
}

}  // namespace adapter::kernels
