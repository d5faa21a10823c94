#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "philox.h"

namespace adapter::kernels {

// floor(count * bits / 2^64) for a count of at most 2^32, from the halves of `bits`.
inline int64_t scaled(uint64_t bits, uint64_t count) {
  const uint64_t high = (bits >> 32) * count, low = (bits & 0xFFFFFFFF) * count;
  return static_cast<int64_t>((high + (low >> 32)) >> 32);
}

// Whole numbers in [low, high), each with a probability within 2^-64 of the others.
template <typename T>
void randint(Context& ctx, int32_t low, int32_t high, const IntArray& shape, DType /*dtype*/, Output& out) {
  if (low >= high)
    throw InvalidArgument("randint: [" + std::to_string(low) + ", " + std::to_string(high) + ") holds no number");
  ctx.resize(out, Shape(shape));
  T* r = host::out<T>(ctx, out);
  const int64_t n = out.numel();
  const auto count = static_cast<uint64_t>(static_cast<int64_t>(high) - low);
  host::launch(ctx, [=, draw = next_draw(ctx, 0)] {
    host::parallel_for(n, host::kElementGrain / 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) r[i] = static_cast<T>(low + scaled(draw.bits(i), count));
    });
  });
}

ADAPTER_KERNEL("randint", randint, none, int32_t, int64_t)

}  // namespace adapter::kernels
