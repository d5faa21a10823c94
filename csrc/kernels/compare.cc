// Comparisons. The kernel key is the operands' dtype; the result is bool. NaN differs from everything.
#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
void equal(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, bool>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a == b; });
}

template <typename T>
void not_equal(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, bool>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a != b; });
}

template <typename T>
void less_than(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, bool>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a < b; });
}

template <typename T>
void less_equal(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, bool>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a <= b; });
}

template <typename T>
void greater_than(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, bool>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a > b; });
}

template <typename T>
void greater_equal(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, bool>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return a >= b; });
}

ADAPTER_KERNEL("equal", equal, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t, uint8_t, bool)
ADAPTER_KERNEL("not_equal", not_equal, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t, bool)
ADAPTER_KERNEL("less_than", less_than, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t, bool)
ADAPTER_KERNEL("less_equal", less_equal, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t, bool)
ADAPTER_KERNEL("greater_than", greater_than, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t, bool)
ADAPTER_KERNEL("greater_equal", greater_equal, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t,
               int8_t, uint8_t, bool)

}  // namespace adapter::kernels
