#include <cmath>
#include <limits>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "philox.h"

namespace adapter::kernels {

// Uniform in [low, high). Rounding to T could give `high` itself, which is moved to its neighbour.
// The number before `end`, on the way to `first`. A half type has no nextafter: its bits count its numbers.
template <typename T>
T largest_below(T end, T first) {
  if constexpr (is_half<T>) {
    if (end == 0) return -std::numeric_limits<T>::min();  // subnormal numbers would do as well
    T last = end;
    last.bits = static_cast<uint16_t>(end > 0 ? end.bits - 1 : end.bits + 1);
    return last;
  } else {
    return std::nextafter(end, first);
  }
}

template <typename T>
void uniform(Context& ctx, const IntArray& shape, DType /*dtype*/, const Scalar& low, const Scalar& high, int32_t seed,
             Output& out) {
  const T first = low.to<T>(), end = high.to<T>();
  if (!(first <= end))
    throw InvalidArgument("uniform: the lower limit " + std::to_string(first) + " exceeds the upper limit " +
                          std::to_string(end));
  ctx.resize(out, Shape(shape));
  T* r = host::out<T>(ctx, out);
  const int64_t n = out.numel();
  const T last = first < end ? largest_below(end, first) : end;
  const double origin = first, width = static_cast<double>(end) - origin;
  host::launch(ctx, [=, draw = next_draw(ctx, seed)] {
    host::parallel_for(n, host::kElementGrain / 8, [&](int64_t begin, int64_t stop) {
      for (int64_t i = begin; i < stop; ++i) {
        const T value = static_cast<T>(origin + width * draw.unit(i));
        r[i] = value < end ? value : last;
      }
    });
  });
}

ADAPTER_KERNEL("uniform", uniform, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
