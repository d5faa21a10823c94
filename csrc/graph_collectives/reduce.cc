#include "dtypes.h"

namespace adapter::graph_collectives {
namespace {

// Ranks other than the root keep what they gave.
template <typename T>
void reduce(Context& ctx, const Tensor& x, int32_t root, int32_t reduction, Output& out) {
  Ring ring(ctx);
  T* const result = ctx.alloc<T>(out);
  if (ring.rank() != static_cast<size_t>(root)) ring.copy(result, x.data, x.nbytes());
  ring.reduce(x.data, result, static_cast<size_t>(x.numel()), dtype_of<T>, reduction_of(reduction),
              static_cast<size_t>(root));
}

}  // namespace

ADAPTER_KERNEL("reduce", reduce, none, ADAPTER_COLLECTIVE_DTYPES)

}  // namespace adapter::graph_collectives
