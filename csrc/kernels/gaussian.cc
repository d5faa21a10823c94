#include <cmath>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "philox.h"

namespace adapter::kernels {

// Normal numbers by the transform of G. Box and M. Muller (1958): two from two uniform ones.
template <typename T>
void gaussian(Context& ctx, const IntArray& shape, float mean, float deviation, int32_t seed, DType /*dtype*/,
              Output& out) {
  ctx.resize(out, Shape(shape));
  T* r = host::out<T>(ctx, out);
  const int64_t n = out.numel();
  host::launch(ctx, [=, draw = next_draw(ctx, seed)] {
    constexpr double kTurn = 6.283185307179586476925286766559;
    host::parallel_for(n, host::kElementGrain / 32, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += 2) {
        const double radius = deviation * std::sqrt(-2 * std::log(1 - draw.unit(i)));  // 1 - u is never 0
        const double angle = kTurn * draw.unit(i + 1);
        r[i] = static_cast<T>(mean + radius * std::cos(angle));
        if (i + 1 < end) r[i + 1] = static_cast<T>(mean + radius * std::sin(angle));
      }
    });
  });
}

ADAPTER_KERNEL("gaussian", gaussian, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
