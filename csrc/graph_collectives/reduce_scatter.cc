#include "dtypes.h"

namespace adapter::graph_collectives {
namespace {

// Sums; Paddle's operator has no other reduction.
template <typename T>
void reduce_scatter(Context& ctx, const Tensor& x, int32_t ranks, Output& out) {
  Ring ring(ctx);
  if (static_cast<size_t>(ranks) != ring.ranks())
    throw InvalidArgument("nranks is " + std::to_string(ranks) + ", the group has " + std::to_string(ring.ranks()));
  if (x.numel() % ranks != 0 || out.shape.numel() != x.numel() / ranks)
    throw InvalidArgument("an input of shape " + to_string(x.shape) + " cannot be scattered over " +
                          std::to_string(ranks) + " ranks");
  ring.reduce_scatter(x.data, ctx.alloc<T>(out), static_cast<size_t>(out.shape.numel()), dtype_of<T>, ReduceOp::sum);
}

}  // namespace

ADAPTER_KERNEL("reduce_scatter", reduce_scatter, none, ADAPTER_COLLECTIVE_DTYPES)

}  // namespace adapter::graph_collectives
