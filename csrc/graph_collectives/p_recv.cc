#include "dtypes.h"
#include "travelling_shape.h"

namespace adapter::graph_collectives {
namespace {

template <typename T>
void p_recv(Context& ctx, int32_t peer, DType, const std::vector<int32_t>& shape, bool dynamic_shape, Output& out) {
  Ring ring(ctx);
  const auto sender = static_cast<size_t>(peer);
  ctx.resize(out, dynamic_shape ? receive_shape(ring, sender) : Shape(shape.begin(), shape.end()));
  T* const data = ctx.alloc<T>(out);
  ring.recv(data, static_cast<size_t>(out.numel()), dtype_of<T>, sender);
}

}  // namespace

ADAPTER_KERNEL("p_recv", p_recv, none, ADAPTER_COLLECTIVE_DTYPES)

}  // namespace adapter::graph_collectives
