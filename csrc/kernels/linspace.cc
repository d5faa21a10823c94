#include <type_traits>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "dispatch.h"

namespace adapter::kernels {

// A one-element tensor of any of these dtypes as T.
template <typename T>
T read_number(Context& ctx, const Tensor& tensor) {
  T value{};
  visit_dtype<float, double, float16, bfloat16, int32_t, int64_t>(tensor.dtype, "a bound of linspace", [&](auto tag) {
    using Stored = typename decltype(tag)::type;
    if constexpr (std::is_same_v<Stored, float16> || std::is_same_v<Stored, bfloat16>)
      value = static_cast<T>(static_cast<float>(read_scalar<Stored>(ctx, tensor)));
    else
      value = static_cast<T>(read_scalar<Stored>(ctx, tensor));
  });
  return value;
}

// `number` values from start to stop, both included. The second half is counted from `stop`, as in Paddle, so that the
// last value is `stop` itself.
template <typename T>
void linspace(Context& ctx, const Tensor& start, const Tensor& stop, const Tensor& number, DType /*dtype*/,
              Output& out) {
  const T first = read_number<T>(ctx, start), last = read_number<T>(ctx, stop);
  const int64_t n = read_number<int64_t>(ctx, number);
  if (n < 1) throw InvalidArgument("linspace of " + std::to_string(n) + " values");
  ctx.resize(out, {n});
  T* r = host::out<T>(ctx, out);
  const double from = static_cast<double>(first), to = static_cast<double>(last);
  const double step = n > 1 ? (to - from) / static_cast<double>(n - 1) : 0;
  host::launch(ctx, [=] {
    for (int64_t i = 0; i < n; ++i)
      r[i] =
          static_cast<T>(2 * i < n ? from + step * static_cast<double>(i) : to - step * static_cast<double>(n - 1 - i));
  });
}

ADAPTER_KERNEL("linspace", linspace, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
