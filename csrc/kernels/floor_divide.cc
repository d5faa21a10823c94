// Division that rounds towards minus infinity, and its remainder, which has the divisor's sign.
#include <cmath>
#include <type_traits>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "binary_grad.h"

namespace adapter::kernels {

// Throws InvalidArgument for an integer divided by zero.
template <typename T>
T remainder_of(T a, T b) {
  if constexpr (is_half<T>) {
    return remainder_of<float>(a, b);
  } else if constexpr (is_floating<T>) {
    const T rest = std::fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
  } else {
    if (b == 0) throw InvalidArgument("an integer is divided by zero");
    if (b == T(-1)) return 0;  // the smallest integer divided by -1 overflows
    const T rest = static_cast<T>(a % b);
    return rest != 0 && (rest < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
  }
}

template <typename T>
T floor_quotient(T a, T b) {
  if constexpr (is_half<T>) {
    return floor_quotient<float>(a, b);
  } else if constexpr (is_floating<T>) {
    if (b == 0) return a / b;
    // Rounding a / b first could cross an integer; a minus the rest is (nearly) a multiple of b.
    const T rest = std::fmod(a, b);
    const T quotient = (a - rest) / b - (rest != 0 && (rest < 0) != (b < 0) ? 1 : 0);
    return quotient == 0 ? std::copysign(T(0), a / b) : std::nearbyint(quotient);
  } else {
    const T rest = remainder_of(a, b);
    if (b == T(-1)) return static_cast<T>(0 - static_cast<std::make_unsigned_t<T>>(a));  // wraps as in two's complement
    return static_cast<T>(a / b - (rest != 0 && (a < 0) != (b < 0) ? 1 : 0));
  }
}

template <typename T>
void floor_divide(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return floor_quotient(a, b); });
}

template <typename T>
void remainder(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return remainder_of(a, b); });
}

template <typename T>
void remainder_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, Output& x_grad,
                    Output& y_grad) {
  using C = Compute<T>;
  const T *a = host::in<T>(x), *b = host::in<T>(y), *g = host::in<T>(out_grad);
  const BroadcastPair pair{out_grad.shape, x.shape, y.shape};
  sum_terms<T>(ctx, pair, y.shape, y_grad, [=](int64_t k, int64_t i, int64_t j) {
    return static_cast<C>(-C(g[k]) * floor_quotient(C(a[i]), C(b[j])));
  });
  sum_terms<T>(ctx, pair, x.shape, x_grad, [=](int64_t k, int64_t, int64_t) { return C(g[k]); });
}

ADAPTER_KERNEL("floor_divide", floor_divide, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t)
ADAPTER_KERNEL("remainder", remainder, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("remainder_grad", remainder_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
