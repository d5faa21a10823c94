// Bitwise operators; on bool they are the logical ones.
#include <type_traits>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
void bitwise_and(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](T a, T b) { return static_cast<T>(a & b); });
}

template <typename T>
void bitwise_or(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](T a, T b) { return static_cast<T>(a | b); });
}

template <typename T>
void bitwise_xor(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](T a, T b) { return static_cast<T>(a ^ b); });
}

template <typename T>
void bitwise_not(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](T v) {
    if constexpr (std::is_same_v<T, bool>)
      return !v;
    else
      return static_cast<T>(~v);
  });
}

ADAPTER_KERNEL("bitwise_and", bitwise_and, none, bool, uint8_t, int8_t, int16_t, int32_t, int64_t)
ADAPTER_KERNEL("bitwise_or", bitwise_or, none, bool, uint8_t, int8_t, int16_t, int32_t, int64_t)
ADAPTER_KERNEL("bitwise_xor", bitwise_xor, none, bool, uint8_t, int8_t, int16_t, int32_t, int64_t)
ADAPTER_KERNEL("bitwise_not", bitwise_not, none, bool, uint8_t, int8_t, int16_t, int32_t, int64_t)

}  // namespace adapter::kernels
