#include "dtypes.h"
#include "travelling_shape.h"

namespace adapter::graph_collectives {
namespace {

template <typename T>
void p_send(Context& ctx, const Tensor& x, int32_t peer, bool dynamic_shape) {
  Ring ring(ctx);
  const auto receiver = static_cast<size_t>(peer);
  if (dynamic_shape) send_shape(ring, x.shape, receiver);
  ring.send(x.data, static_cast<size_t>(x.numel()), dtype_of<T>, receiver);
}

}  // namespace

ADAPTER_KERNEL("p_send", p_send, none, ADAPTER_COLLECTIVE_DTYPES)

}  // namespace adapter::graph_collectives
