// Logic on truth values: whatever is not zero is true, NaN too. The result is bool.
#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
void logical_and(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, bool>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a != 0 && b != 0; });
}

template <typename T>
void logical_or(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, bool>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a != 0 || b != 0; });
}

template <typename T>
void logical_xor(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, bool>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return (a != 0) != (b != 0); });
}

template <typename T>
void logical_not(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, bool>(ctx, x, out, [](Compute<T> v) { return v == 0; });
}

ADAPTER_KERNEL("logical_and", logical_and, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               bool)
ADAPTER_KERNEL("logical_or", logical_or, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               bool)
ADAPTER_KERNEL("logical_xor", logical_xor, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               bool)
ADAPTER_KERNEL("logical_not", logical_not, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               bool)

}  // namespace adapter::kernels
