#include <cmath>

#include "attention_calls.h"

namespace adapter::kernels {

template <typename T>
Attention<T> flash_problem(const Tensor& q, const Tensor& k, const Tensor& v, const OptionalTensor& mask, bool causal,
                           const Shape& lse) {
  Attention<T> a = attention_of<T>("flash_attn", q, k, v);
  set_batch(a, q, k, lse);
  if (causal) set_bottom_right_causal(a);
  if (mask) a.mask = score_mask<T>("flash_attn", mask, q.shape[0], a.heads, q.shape[1], k.shape[1]);
  return a;
}

template <typename T>
void flash_attn(Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                const OptionalTensor& fixed_seed_offset, const OptionalTensor& attn_mask, float dropout, bool causal,
                bool return_softmax, bool is_test, const std::string& /*rng_name*/, Output& out, Output& softmax,
                Output& softmax_lse, Output& seed_offset) {
  if (q.shape.rank != 4) throw InvalidArgument("flash_attn: q needs 4 axes, got " + to_string(q.shape));
  const Shape lse = lse_shape(softmax_lse ? softmax_lse.shape : Shape{}, q.shape[0], q.shape[2], q.shape[1]);
  Attention<T> a = flash_problem<T>(q, k, v, attn_mask, causal, lse);
  a.dropout = draw_dropout(ctx, fixed_seed_offset, dropout, is_test, seed_offset);
  flash_forward(ctx, a, q, k, lse, return_softmax, out, softmax, softmax_lse);
}

template <typename T>
void flash_attn_grad(Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                     const Tensor& softmax_lse, const Tensor& seed_offset, const OptionalTensor& attn_mask,
                     const Tensor& out_grad, float dropout, bool causal, Output& q_grad, Output& k_grad,
                     Output& v_grad) {
  const Attention<T> a = flash_problem<T>(q, k, v, attn_mask, causal, softmax_lse.shape);
  const AttentionGradients<T> gradients = gradients_of<T>(ctx, q, k, v, q_grad, k_grad, v_grad);
  flash_backward(ctx, a, out, softmax_lse, seed_offset, out_grad, dropout, gradients);
}

ADAPTER_FUSED_KERNEL("flash_attn", flash_attn, same, float, float16, bfloat16)
ADAPTER_FUSED_KERNEL("flash_attn_grad", flash_attn_grad, same, float, float16, bfloat16)

}  // namespace adapter::kernels
