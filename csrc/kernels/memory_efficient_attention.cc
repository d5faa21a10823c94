#include <cmath>

#include "attention_calls.h"

namespace adapter::kernels {

// What both directions are given besides their tensors.
template <typename T>
struct EfficientCall {
  Attention<T> a;
  const int32_t *q_bounds = nullptr, *k_bounds = nullptr, *diagonals = nullptr, *k_lengths = nullptr;
  int64_t batch = 0, rows = 0;
  bool causal = false;
  Shape lse;

  // Inside launch(): the sequences, whose bounds may lie in device memory.
  void place() {
    if (q_bounds) set_packed(a, batch, q_bounds, k_bounds, lse);
    for (size_t i = 0; i < a.sequences.size(); ++i) {
      Sequence& s = a.sequences[i];
      if (k_lengths) s.k_length = std::min<int64_t>(s.k_length, k_lengths[i]);
      if (causal) s.diagonal = 1 + (diagonals ? diagonals[i] : 0);  // from the top left, as the mask of Paddle's class
    }
  }
};

inline const int32_t* whole_numbers(const OptionalTensor& tensor, const char* what) {
  if (!tensor) return nullptr;
  if (tensor.dtype != DType::int32)
    throw InvalidArgument(std::string("memory_efficient_attention: ") + what + " is int32, got " +
                          name_of(tensor.dtype));
  return host::in<int32_t>(tensor);
}

template <typename T>
EfficientCall<T> efficient_call(const Tensor& q, const Tensor& k, const Tensor& v, const OptionalTensor& bias,
                                const OptionalTensor& q_bounds, const OptionalTensor& k_bounds, int64_t max_rows,
                                bool causal, float scale, const Shape& inferred_lse) {
  if (q.shape.rank != 4)
    throw InvalidArgument("memory_efficient_attention: query needs 4 axes, got " + to_string(q.shape));
  EfficientCall<T> call;
  call.a = attention_of<T>("memory_efficient_attention", q, k, v);
  if (scale > 0) call.a.scale = scale;  // Paddle hands -1 for "none given"
  call.causal = causal;
  call.q_bounds = whole_numbers(q_bounds, "cu_seqlens_q"), call.k_bounds = whole_numbers(k_bounds, "cu_seqlens_k");
  if ((call.q_bounds == nullptr) != (call.k_bounds == nullptr))
    throw InvalidArgument("memory_efficient_attention: cu_seqlens_q and cu_seqlens_k are given together");
  call.batch = q_bounds ? q_bounds.shape[0] - 1 : q.shape[0];
  call.rows = q_bounds ? max_rows : q.shape[1];
  call.lse = lse_shape(inferred_lse, call.batch, call.a.heads, call.rows);
  if (!q_bounds) set_batch(call.a, q, k, call.lse);
  if (bias)
    call.a.mask = score_mask<T>("memory_efficient_attention", bias, q.shape[0], call.a.heads, q.shape[1], k.shape[1]);
  return call;
}

template <typename T>
void memory_efficient_attention(Context& ctx, const Tensor& query, const Tensor& key, const Tensor& value,
                                const OptionalTensor& bias, const OptionalTensor& cu_seqlens_q,
                                const OptionalTensor& cu_seqlens_k, const OptionalTensor& causal_diagonal,
                                const OptionalTensor& seqlen_k, const Scalar& max_seqlen_q,
                                const Scalar& /*max_seqlen_k*/, bool causal, double dropout, float scale, bool is_test,
                                Output& out, Output& logsumexp, Output& seed_and_offset) {
  EfficientCall<T> call =
      efficient_call<T>(query, key, value, bias, cu_seqlens_q, cu_seqlens_k, max_seqlen_q.to<int64_t>(), causal, scale,
                        logsumexp ? logsumexp.shape : Shape{});
  call.diagonals = whole_numbers(causal_diagonal, "causal_diagonal");
  call.k_lengths = whole_numbers(seqlen_k, "seqlen_k");
  call.a.dropout = draw_dropout(ctx, OptionalTensor{}, dropout, is_test, seed_and_offset);
  ctx.resize(out, {query.shape[0], query.shape[1], call.a.heads, call.a.value_dim});
  T* data = host::out<T>(ctx, out);
  const int64_t size = out.numel();
  float* logs = lse_of(ctx, logsumexp, call.lse);
  host::launch(ctx, [=]() mutable {
    call.place();
    std::fill(data, data + size, T(0));  // rows of no sequence
    attention_forward(call.a, packed_heads(data, call.a.heads, call.a.value_dim), logs);
  });
}

// sum over the axes along which bias was repeated
template <typename T>
void sum_bias_grad(const std::vector<T>& whole, const Shape& scores, const Shape& bias, T* r) {
  std::vector<Compute<T>> sum(static_cast<size_t>(bias.numel()));
  int64_t from = 0;
  for (int64_t b = 0; b < scores[0]; ++b)
    for (int64_t h = 0; h < scores[1]; ++h)
      for (int64_t i = 0; i < scores[2]; ++i) {
        const int64_t to =
            ((bias[0] == 1 ? 0 : b) * bias[1] + (bias[1] == 1 ? 0 : h)) * bias[2] + (bias[2] == 1 ? 0 : i);
        for (int64_t j = 0; j < scores[3]; ++j)
          sum[static_cast<size_t>(to * scores[3] + j)] += static_cast<Compute<T>>(whole[static_cast<size_t>(from++)]);
      }
  for (size_t i = 0; i < sum.size(); ++i) r[i] = static_cast<T>(sum[i]);
}

template <typename T>
void memory_efficient_attention_grad(Context& ctx, const Tensor& query, const Tensor& key, const Tensor& value,
                                     const OptionalTensor& bias, const OptionalTensor& cu_seqlens_q,
                                     const OptionalTensor& cu_seqlens_k, const Tensor& out, const Tensor& logsumexp,
                                     const Tensor& seed_and_offset, const Tensor& out_grad, const Scalar& max_seqlen_q,
                                     const Scalar& /*max_seqlen_k*/, bool causal, double dropout, float scale,
                                     Output& query_grad, Output& key_grad, Output& value_grad, Output& bias_grad) {
  EfficientCall<T> call = efficient_call<T>(query, key, value, bias, cu_seqlens_q, cu_seqlens_k,
                                            max_seqlen_q.to<int64_t>(), causal, scale, logsumexp.shape);
  if (logsumexp.shape != call.lse)
    throw InvalidArgument("memory_efficient_attention_grad: logsumexp " + to_string(logsumexp.shape) +
                          " is not that of a call in training, " + to_string(call.lse));
  AttentionGradients<T> gradients = gradients_of<T>(ctx, query, key, value, query_grad, key_grad, value_grad);
  const Heads<const T> result = packed_heads(host::in<T>(out), call.a.heads, call.a.value_dim);
  const Heads<const T> flow = packed_heads(host::in<T>(out_grad), call.a.heads, call.a.value_dim);
  const float* logs = host::in<float>(logsumexp);
  const int64_t* drawn = host::in<int64_t>(seed_and_offset);
  const Shape scores{query.shape[0], call.a.heads, query.shape[1], key.shape[1]};
  const Shape bias_shape = bias ? bias.shape : Shape{};
  if (bias_grad) ctx.resize(bias_grad, bias_shape);
  T* bias_to = bias_grad ? host::out<T>(ctx, bias_grad) : nullptr;
  const std::array<int64_t, 3> sizes{query.numel(), key.numel(), value.numel()};
  host::launch(ctx, [=]() mutable {
    call.place();
    call.a.dropout = drawn_dropout(dropout, drawn);
    std::vector<T> whole(bias_to ? static_cast<size_t>(scores.numel()) : 0, T(0));
    gradients.mask = bias_to ? whole.data() : nullptr;
    T* parts[] = {gradients.q.data, gradients.k.data, gradients.v.data};
    for (size_t i = 0; i < 3; ++i)
      if (parts[i]) std::fill(parts[i], parts[i] + sizes[i], T(0));
    attention_backward(call.a, result, logs, flow, gradients);
    if (bias_to) sum_bias_grad(whole, scores, bias_shape, bias_to);
  });
}

ADAPTER_FUSED_KERNEL("memory_efficient_attention", memory_efficient_attention, same, float, float16, bfloat16)
ADAPTER_FUSED_KERNEL("memory_efficient_attention_grad", memory_efficient_attention_grad, same, float, float16, bfloat16)

}  // namespace adapter::kernels
