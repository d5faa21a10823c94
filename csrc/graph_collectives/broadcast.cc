#include "dtypes.h"

namespace adapter::graph_collectives {
namespace {

template <typename T>
void broadcast(Context& ctx, const Tensor& x, int32_t root, Output& out) {
  Ring ring(ctx);
  T* const data = ctx.alloc<T>(out);
  if (ring.rank() == static_cast<size_t>(root)) ring.copy(data, x.data, x.nbytes());
  ring.broadcast(data, static_cast<size_t>(x.numel()), dtype_of<T>, static_cast<size_t>(root));
}

}  // namespace

ADAPTER_KERNEL("broadcast", broadcast, none, ADAPTER_COLLECTIVE_DTYPES)

}  // namespace adapter::graph_collectives
