#include <cmath>

#include "attention_calls.h"

namespace adapter::kernels {

// startend_row_indices: int32 [batch, 1 or heads of k or of q, columns, 1 or 2 (causal), 2 or 4 (not causal)].
template <typename T>
Attention<T> flashmask_problem(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& startend, bool causal,
                               const Shape& lse) {
  Attention<T> a = attention_of<T>("flashmask_attention", q, k, v);
  set_batch(a, q, k, lse);
  if (causal) set_bottom_right_causal(a);
  const Shape& s = startend.shape;
  const bool fits = s.rank == 4 && s[0] == q.shape[0] && s[2] == k.shape[1] &&
                    (s[1] == 1 || s[1] == a.kv_heads || s[1] == a.heads) &&
                    (causal ? s[3] == 1 || s[3] == 2 : s[3] == 2 || s[3] == 4);
  if (!fits || startend.dtype != DType::int32)
    throw InvalidArgument("flashmask_attention: startend_row_indices " + to_string(s) + " " + name_of(startend.dtype) +
                          " does not fit q " + to_string(q.shape) + " and k " + to_string(k.shape) +
                          (causal ? " (causal: 1 or 2 int32 for a column)" : " (2 or 4 int32 for a column)"));
  a.bounds.data = host::in<int32_t>(startend);
  a.bounds.width = s[3], a.bounds.causal = causal;
  a.bounds.group = a.heads / s[1];
  a.bounds.head_stride = s[2] * s[3], a.bounds.batch_stride = s[1] * s[2] * s[3];
  return a;
}

template <typename T>
void flashmask_attention(Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                         const Tensor& startend_row_indices, const OptionalTensor& fixed_seed_offset, float dropout,
                         bool causal, bool return_softmax, bool is_test, const std::string& /*rng_name*/, Output& out,
                         Output& softmax, Output& softmax_lse, Output& seed_offset) {
  if (q.shape.rank != 4) throw InvalidArgument("flashmask_attention: q needs 4 axes, got " + to_string(q.shape));
  const Shape lse = lse_shape(softmax_lse ? softmax_lse.shape : Shape{}, q.shape[0], q.shape[2], q.shape[1]);
  Attention<T> a = flashmask_problem<T>(q, k, v, startend_row_indices, causal, lse);
  a.dropout = draw_dropout(ctx, fixed_seed_offset, dropout, is_test, seed_offset);
  flash_forward(ctx, a, q, k, lse, return_softmax, out, softmax, softmax_lse);
}

template <typename T>
void flashmask_attention_grad(Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& startend_row_indices, const Tensor& out, const Tensor& softmax_lse,
                              const Tensor& seed_offset, const Tensor& out_grad, float dropout, bool causal,
                              Output& q_grad, Output& k_grad, Output& v_grad) {
  Attention<T> a = flashmask_problem<T>(q, k, v, startend_row_indices, causal, softmax_lse.shape);
  const AttentionGradients<T> gradients = gradients_of<T>(ctx, q, k, v, q_grad, k_grad, v_grad);
  flash_backward(ctx, a, out, softmax_lse, seed_offset, out_grad, dropout, gradients);
}

ADAPTER_FUSED_KERNEL("flashmask_attention", flashmask_attention, same, float, float16, bfloat16)
ADAPTER_FUSED_KERNEL("flashmask_attention_grad", flashmask_attention_grad, same, float, float16, bfloat16)

}  // namespace adapter::kernels
