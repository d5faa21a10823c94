#include "dtypes.h"

namespace adapter::graph_collectives {
namespace {

// The first dimension is cut into one part for each rank.
template <typename T>
void all_to_all(Context& ctx, const Tensor& x, Output& out) {
  Ring ring(ctx);
  const size_t ranks = ring.ranks();
  if (x.shape.rank == 0 || x.shape[0] % static_cast<int64_t>(ranks) != 0)
    throw InvalidArgument("an input of shape " + to_string(x.shape) + " cannot be cut into " + std::to_string(ranks) +
                          " parts along its first dimension");
  const size_t count = static_cast<size_t>(x.numel()) / ranks;
  const auto parts = [&](T* data) {
    std::vector<CollectivePart> cut;
    for (size_t i = 0; i < ranks; ++i) cut.push_back({data == nullptr ? data : data + i * count, count, dtype_of<T>});
    return cut;
  };
  ring.all_to_all(parts(static_cast<T*>(const_cast<void*>(x.data))), parts(ctx.alloc<T>(out)));
}

}  // namespace

ADAPTER_KERNEL("all_to_all", all_to_all, none, ADAPTER_COLLECTIVE_DTYPES)

}  // namespace adapter::graph_collectives
