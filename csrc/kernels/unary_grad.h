// Gradients of operators with one operand.
#pragma once

#include "adapter_sdk/host/elementwise.h"

namespace adapter::kernels {

// grad[i] = term(saved[i], out_grad[i]), where `saved` is the operator's input or output, as Paddle passes it.
// Skips an unneeded grad; grad may share its storage with out_grad.
template <typename T, typename Term>
void unary_grad(Context& ctx, const Tensor& saved, const Tensor& out_grad, Output& grad, Term term) {
  if (!grad) return;
  ctx.resize(grad, saved.shape);
  host::binary<T, T>(ctx, saved, out_grad, grad, term);
}

}  // namespace adapter::kernels
