// Gradients of broadcast operands.
#pragma once

#include <cstring>

#include "accumulate.h"
#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/host/fold.h"
#include "adapter_sdk/host/reduce.h"

namespace adapter::kernels {

// The space of one operand's reduction.
inline host::FoldSpace<1> fold_space(const host::Reduction& r) {
  return {r.outer_shape, {r.outer_strides}, r.inner_shape, {r.inner_strides}};
}

// grad[j] = factor * sum of out_grad[i] over the elements i that operand element j was broadcast to. Skips an unneeded
// grad.
template <typename T>
void sum_to_shape(Context& ctx, const Tensor& out_grad, const Shape& operand, Output& grad,
                  Accumulator<T> factor = Accumulator<T>(1)) {
  if (!grad) return;
  ctx.resize(grad, operand);
  T* r = host::out<T>(ctx, grad);
  const T* g = host::in<T>(out_grad);
  const int64_t n = out_grad.numel();
  if (operand.numel() == n) {
    host::launch(ctx, [=] {
      if (factor == Accumulator<T>(1) && r == g) return;
      host::parallel_for(n, host::kElementGrain, [&](int64_t begin, int64_t end) {
        if (factor == Accumulator<T>(1))
          std::memcpy(r + begin, g + begin, static_cast<size_t>(end - begin) * sizeof(T));
        else
          host::map(g + begin, r + begin, end - begin,
                    [=](Compute<T> v) { return static_cast<Compute<T>>(factor * static_cast<Accumulator<T>>(v)); });
      });
    });
    return;
  }
  host::launch(ctx, [=, space = fold_space(host::broadcast_reduction(operand, out_grad.shape))] {
    using Sum = Accumulator<T>;
    host::fold_results<1>(space, host::SumFold<Sum>{}, host::Elements<T>{g},
                          [=](int64_t i, Sum sum) { r[i] = static_cast<T>(factor * sum); });
  });
}

}  // namespace adapter::kernels
