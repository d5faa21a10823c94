#include <cmath>

#include "attention_calls.h"

namespace adapter::kernels {

// Bounds of sequences: int32, one more than there are sequences.
inline const int32_t* sequence_bounds(const Tensor& bounds) {
  if (bounds.dtype != DType::int32 || bounds.shape.rank != 1 || bounds.shape[0] < 1)
    throw InvalidArgument("flash_attn_unpadded: cu_seqlens is int32 [sequences + 1], got " + to_string(bounds.shape) +
                          " " + name_of(bounds.dtype));
  return host::in<int32_t>(bounds);
}

template <typename T>
Attention<T> unpadded_problem(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& q_bounds,
                              const Tensor& k_bounds, const OptionalTensor& mask, int64_t max_rows, int64_t max_columns,
                              float scale) {
  Attention<T> a = attention_of<T>("flash_attn_unpadded", q, k, v);
  if (q_bounds.shape != k_bounds.shape)
    throw InvalidArgument("flash_attn_unpadded: cu_seqlens_q " + to_string(q_bounds.shape) + " and cu_seqlens_k " +
                          to_string(k_bounds.shape) + " name different numbers of sequences");
  a.scale = scale;
  if (mask) a.mask = score_mask<T>("flash_attn_unpadded", mask, q_bounds.shape[0] - 1, a.heads, max_rows, max_columns);
  return a;
}

template <typename T>
void flash_attn_unpadded(Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens_q,
                         const Tensor& cu_seqlens_k, const OptionalTensor& fixed_seed_offset,
                         const OptionalTensor& attn_mask, const Scalar& max_seqlen_q, const Scalar& max_seqlen_k,
                         float scale, float dropout, bool causal, bool return_softmax, bool is_test,
                         const std::string& /*rng_name*/, Output& out, Output& softmax, Output& softmax_lse,
                         Output& seed_offset) {
  const auto max_rows = max_seqlen_q.to<int64_t>(), max_columns = max_seqlen_k.to<int64_t>();
  Attention<T> a = unpadded_problem<T>(q, k, v, cu_seqlens_q, cu_seqlens_k, attn_mask, max_rows, max_columns, scale);
  const int32_t *q_bounds = sequence_bounds(cu_seqlens_q), *k_bounds = sequence_bounds(cu_seqlens_k);
  const int64_t batch = cu_seqlens_q.shape[0] - 1;
  const Shape lse = lse_shape(softmax_lse ? softmax_lse.shape : Shape{}, batch, a.heads, max_rows);
  a.dropout = draw_dropout(ctx, fixed_seed_offset, dropout, is_test, seed_offset);
  ctx.resize(out, {q.shape[0], a.heads, a.value_dim});
  T* data = host::out<T>(ctx, out);
  const int64_t size = out.numel();
  const Heads<T> result = packed_heads(data, a.heads, a.value_dim);
  float* logs = lse_of(ctx, softmax_lse, lse);
  const int64_t rows = (max_rows + 127) / 128 * 128, columns = (max_columns + 127) / 128 * 128;
  T* probabilities = nullptr;
  if (softmax) {
    ctx.resize(softmax, return_softmax ? Shape{batch, a.heads, rows, columns} : Shape{0});
    probabilities = host::out<T>(ctx, softmax);
  }
  host::launch(ctx, [=]() mutable {
    set_packed(a, batch, q_bounds, k_bounds, lse);
    if (causal) set_bottom_right_causal(a);
    std::fill(data, data + size, T(0));  // rows of no sequence
    attention_forward(a, result, logs);
    if (return_softmax && probabilities && logs) attention_probabilities(a, logs, rows, columns, probabilities);
  });
}

template <typename T>
void flash_attn_unpadded_grad(Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& cu_seqlens_q, const Tensor& cu_seqlens_k, const Tensor& out,
                              const Tensor& softmax_lse, const Tensor& seed_offset, const OptionalTensor& attn_mask,
                              const Tensor& out_grad, const Scalar& max_seqlen_q, const Scalar& max_seqlen_k,
                              float scale, float dropout, bool causal, Output& q_grad, Output& k_grad, Output& v_grad) {
  Attention<T> a = unpadded_problem<T>(q, k, v, cu_seqlens_q, cu_seqlens_k, attn_mask, max_seqlen_q.to<int64_t>(),
                                       max_seqlen_k.to<int64_t>(), scale);
  const int32_t *q_bounds = sequence_bounds(cu_seqlens_q), *k_bounds = sequence_bounds(cu_seqlens_k);
  const int64_t batch = cu_seqlens_q.shape[0] - 1;
  const AttentionGradients<T> gradients = gradients_of<T>(ctx, q, k, v, q_grad, k_grad, v_grad);
  const int64_t q_size = q.numel(), k_size = k.numel(), v_size = v.numel();
  const Heads<const T> result = packed_heads(host::in<T>(out), a.heads, a.value_dim);
  const Heads<const T> flow = packed_heads(host::in<T>(out_grad), a.heads, a.value_dim);
  const float* logs = host::in<float>(softmax_lse);
  const int64_t* drawn = host::in<int64_t>(seed_offset);
  const Shape lse = softmax_lse.shape;
  host::launch(ctx, [=]() mutable {
    set_packed(a, batch, q_bounds, k_bounds, lse);
    if (causal) set_bottom_right_causal(a);
    a.dropout = drawn_dropout(dropout, drawn);
    if (gradients.q.data) std::fill(gradients.q.data, gradients.q.data + q_size, T(0));
    if (gradients.k.data) std::fill(gradients.k.data, gradients.k.data + k_size, T(0));
    if (gradients.v.data) std::fill(gradients.v.data, gradients.v.data + v_size, T(0));
    attention_backward(a, result, logs, flow, gradients);
  });
}

ADAPTER_FUSED_KERNEL("flash_attn_unpadded", flash_attn_unpadded, same, float, float16, bfloat16)
ADAPTER_FUSED_KERNEL("flash_attn_unpadded_grad", flash_attn_unpadded_grad, same, float, float16, bfloat16)

}  // namespace adapter::kernels
