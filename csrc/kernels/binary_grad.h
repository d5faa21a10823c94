// Gradients of operators with broadcast operands, where a term needs the operands' values.
#pragma once

#include <algorithm>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/fold.h"

namespace adapter::kernels {

// The index space of out_grad with the two operands broadcast to it, and the operand whose gradient is wanted.
struct BroadcastPair {
  Shape space, x, y;

  std::array<Shape, 3> strides() const {
    return {host::contiguous_strides(space), host::broadcast_strides(x, space), host::broadcast_strides(y, space)};
  }
};

// Kept and reduced axes of the sums that undo broadcasting `target` to the space of `pair`.
inline host::FoldSpace<3> undo_broadcast(const BroadcastPair& pair, const Shape& target) {
  const std::array<Shape, 3> strides = pair.strides();
  const Shape own = host::broadcast_strides(target, pair.space);
  Shape outer, inner;
  std::array<Shape, 3> outer_strides, inner_strides;
  for (int axis = 0; axis < pair.space.rank; ++axis) {
    const bool summed = own[axis] == 0 && pair.space[axis] != 1;
    (summed ? inner : outer).push_back(pair.space[axis]);
    for (size_t k = 0; k < 3; ++k) (summed ? inner_strides : outer_strides)[k].push_back(strides[k][axis]);
  }
  return {outer, outer_strides, inner, inner_strides};
}

// grad[t] = sum of term(k, i, j) over the elements k of out_grad that element t of `target` was broadcast to; i and j
// are the elements of x and y there. Skips an unneeded grad. `term` gives Compute<T>, so that nothing is rounded before
// the sum. Where nothing was broadcast, grad may share its storage with out_grad.
template <typename T, typename Term>
void sum_terms(Context& ctx, const BroadcastPair& pair, const Shape& target, Output& grad, Term term) {
  if (!grad) return;
  ctx.resize(grad, target);
  T* r = host::out<T>(ctx, grad);
  if (target.numel() == pair.space.numel()) {
    host::launch(ctx, [=, walk = host::Walk<3>(pair.space, pair.strides())] {
      const std::array<int64_t, 3> step = host::steps_of(walk);
      host::parallel_rows(walk, [&](const std::array<int64_t, 3>& o, int64_t n) {
        host::with_places<3>(o, step, [&](const auto& places) {
          ADAPTER_INDEPENDENT
          for (int64_t k = 0; k < n; ++k) r[o[0] + k] = static_cast<T>(places.read(term, k));
        });
      });
    });
    return;
  }
  host::launch(ctx, [=, space = undo_broadcast(pair, target)] {
    using Sum = Accumulator<T>;
    host::fold_results<3>(space, host::SumFold<Sum>{}, term, [=](int64_t t, Sum sum) { r[t] = static_cast<T>(sum); });
  });
}

}  // namespace adapter::kernels
