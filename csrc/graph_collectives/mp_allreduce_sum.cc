// Paddle's wheel (3.1 to 3.3) has a kernel of this name for custom devices, but with the parameters that 3.0 called it
// with: it reads its group from a register that nobody set, and sums over whatever group that names, or none.
#include "dtypes.h"

namespace adapter::graph_collectives {
namespace {

template <typename T>
void mp_allreduce_sum(Context& ctx, const Tensor& x, Output& out) {
  Ring(ctx).all_reduce(x.data, ctx.alloc<T>(out), static_cast<size_t>(x.numel()), dtype_of<T>, ReduceOp::sum);
}

}  // namespace

ADAPTER_KERNEL("mp_allreduce_sum", mp_allreduce_sum, none, ADAPTER_COLLECTIVE_DTYPES)

}  // namespace adapter::graph_collectives
