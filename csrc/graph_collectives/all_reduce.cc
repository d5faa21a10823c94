#include "dtypes.h"

namespace adapter::graph_collectives {
namespace {

template <typename T>
void all_reduce(Context& ctx, const Tensor& x, int32_t reduction, Output& out) {
  Ring(ctx).all_reduce(x.data, ctx.alloc<T>(out), static_cast<size_t>(x.numel()), dtype_of<T>, reduction_of(reduction));
}

}  // namespace

ADAPTER_KERNEL("all_reduce", all_reduce, none, ADAPTER_COLLECTIVE_DTYPES)

}  // namespace adapter::graph_collectives
