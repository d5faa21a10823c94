#include <limits>
#include <type_traits>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "dispatch.h"

namespace adapter::kernels {

// C++ leaves a floating number outside the integer's range undefined. As on x86-64 it becomes the smallest 32-bit (for
// int64: 64-bit) integer, so that every build agrees.
template <typename To, typename From>
To converted(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != 0;
  } else if constexpr (is_floating<From> && std::is_integral_v<To>) {
    using Wide = std::conditional_t<sizeof(To) == 8, int64_t, int32_t>;
    constexpr Wide smallest = std::numeric_limits<Wide>::min();
    const bool fits = value >= static_cast<From>(smallest) && value < -static_cast<From>(smallest);
    return static_cast<To>(fits ? static_cast<Wide>(value) : smallest);
  } else {
    return static_cast<To>(value);
  }
}

// The kernel key is the input's dtype.
template <typename T>
void cast(Context& ctx, const Tensor& x, DType out_dtype, Output& out) {
  visit_dtype<float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t, uint8_t, bool>(
      out_dtype, "the result", [&](auto tag) {
        using To = typename decltype(tag)::type;
        host::unary<T, To>(ctx, x, out, [](Compute<T> v) { return converted<To>(v); });
      });
}

ADAPTER_KERNEL("cast", cast, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t, uint8_t, bool)

}  // namespace adapter::kernels
