#include "dtypes.h"

namespace adapter::graph_collectives {
namespace {

template <typename T>
void all_gather(Context& ctx, const Tensor& x, int32_t ranks, Output& out) {
  Ring ring(ctx);
  if (static_cast<size_t>(ranks) != ring.ranks())
    throw InvalidArgument("nranks is " + std::to_string(ranks) + ", the group has " + std::to_string(ring.ranks()));
  if (out.shape.numel() != x.numel() * ranks)
    throw InvalidArgument("an output of shape " + to_string(out.shape) + " does not hold " + std::to_string(ranks) +
                          " parts of shape " + to_string(x.shape));
  ring.all_gather(x.data, ctx.alloc<T>(out), static_cast<size_t>(x.numel()), dtype_of<T>);
}

}  // namespace

ADAPTER_KERNEL("all_gather", all_gather, none, ADAPTER_COLLECTIVE_DTYPES)

}  // namespace adapter::graph_collectives
