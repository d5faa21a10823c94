// Gradients of broadcast operands.
#pragma once

#include "accumulate.h"
#include "adapter_sdk/host/reduce.h"

namespace adapter::kernels {

// grad[j] = sum of term(out_grad[i]) over the elements i that operand element j was broadcast to. Skips an unneeded
// grad.
template <typename T, typename Term>
void sum_to_shape(Context& ctx, const Tensor& out_grad, const Shape& operand, Output& grad, Term term) {
  if (!grad) return;
  ctx.resize(grad, operand);
  T* r = host::out<T>(ctx, grad);
  const T* g = host::in<T>(out_grad);
  const host::Reduction plan = host::broadcast_reduction(operand, out_grad.shape);
  host::launch(ctx, [=] {
    host::for_each_result(plan, [&](int64_t i, auto&& fold) {
      Accumulator<T> sum{};
      fold([&](int64_t k) { sum += static_cast<Accumulator<T>>(term(g[k])); });
      r[i] = static_cast<T>(sum);
    });
  });
}

}  // namespace adapter::kernels
