// isnan, isinf and isfinite; an integer is always finite.
#include <cmath>
#include <type_traits>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
void isnan(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, bool>(ctx, x, out, [](Compute<T> v) { return v != v; });
}

template <typename T>
void isinf(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, bool>(ctx, x, out, [](Compute<T> v) {
    if constexpr (is_floating<T>) return std::isinf(v);
    return static_cast<void>(v), false;
  });
}

template <typename T>
void isfinite(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, bool>(ctx, x, out, [](Compute<T> v) {
    if constexpr (is_floating<T>) return std::isfinite(v);
    return static_cast<void>(v), true;
  });
}

ADAPTER_KERNEL("isnan", isnan, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("isinf", isinf, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("isfinite", isfinite, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
