// Gradients of operators with broadcast operands, where a term needs the operands' values.
#pragma once

#include <algorithm>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/strided.h"

namespace adapter::kernels {

// The index space of out_grad with the two operands broadcast to it, and the operand whose gradient is wanted.
struct BroadcastPair {
  Shape space, x, y;
};

// grad[t] = sum of term(k, i, j) over the elements k of out_grad that element t of `target` was broadcast to; i and j
// are the elements of x and y there. Skips an unneeded grad. Sums run in row-major order of k. Where nothing was
// broadcast, grad may share its storage with out_grad.
template <typename T, typename Term>
void sum_terms(Context& ctx, const BroadcastPair& pair, const Shape& target, Output& grad, Term term) {
  if (!grad) return;
  ctx.resize(grad, target);
  T* r = host::out<T>(ctx, grad);
  const Shape& space = pair.space;
  const host::Walk<4> walk(space, {host::contiguous_strides(space), host::broadcast_strides(pair.x, space),
                                   host::broadcast_strides(pair.y, space), host::broadcast_strides(target, space)});
  const auto each = [walk, term](auto&& visit) {
    const int64_t sx = walk.inner_stride(1), sy = walk.inner_stride(2), st = walk.inner_stride(3);
    walk.rows([&](const std::array<int64_t, 4>& o, int64_t n) {
      for (int64_t k = 0; k < n; ++k) visit(o[3] + k * st, term(o[0] + k, o[1] + k * sx, o[2] + k * sy));
    });
  };
  const int64_t count = target.numel();
  if (count == space.numel()) {
    host::launch(ctx, [=] { each([=](int64_t t, T value) { r[t] = value; }); });
    return;
  }
  host::launch(ctx, [=] {
    std::vector<Accumulator<T>> sums(static_cast<size_t>(count));
    each([&](int64_t t, T value) { sums[static_cast<size_t>(t)] += static_cast<Accumulator<T>>(value); });
    std::transform(sums.begin(), sums.end(), r, [](Accumulator<T> sum) { return static_cast<T>(sum); });
  });
}

}  // namespace adapter::kernels
