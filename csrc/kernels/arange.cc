#include <cmath>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
int64_t arange_size(T start, T end, T step) {
  if (step == T(0)) throw InvalidArgument("arange with step 0");
  if constexpr (std::is_integral_v<T>) {
    const int64_t span = static_cast<int64_t>(end) - static_cast<int64_t>(start), s = step;
    const int64_t n = (span + s - (s > 0 ? 1 : -1)) / s;
    return n > 0 ? n : 0;
  } else {
    const double n = std::ceil(std::abs((static_cast<double>(end) - static_cast<double>(start)) / step));
    return (end - start) / step > 0 ? static_cast<int64_t>(n) : 0;
  }
}

template <typename T>
void fill_range(Context& ctx, T start, T end, T step, Output& out) {
  const int64_t n = arange_size(start, end, step);
  ctx.resize(out, {n});
  T* r = host::out<T>(ctx, out);
  // start + i * step, as Paddle's kernel, not a running sum whose error grows
  host::launch(ctx, [=] {
    for (int64_t i = 0; i < n; ++i) r[i] = static_cast<T>(start + static_cast<T>(i) * step);
  });
}

template <typename T>
void arange(Context& ctx, const Scalar& start, const Scalar& end, const Scalar& step, Output& out) {
  fill_range(ctx, start.to<T>(), end.to<T>(), step.to<T>(), out);
}

// The bounds are one-element tensors: the size of the output depends on them, so they are read on the host.
template <typename T>
void arange_tensor(Context& ctx, const Tensor& start, const Tensor& end, const Tensor& step, Output& out) {
  fill_range(ctx, read_scalar<T>(ctx, start), read_scalar<T>(ctx, end), read_scalar<T>(ctx, step), out);
}

ADAPTER_KERNEL("arange", arange, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("arange_tensor", arange_tensor, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
