// abs, floor and ceil.
#include <cmath>
#include <type_traits>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "unary_grad.h"

namespace adapter::kernels {

template <typename T>
void abs(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) {
    if constexpr (is_floating<T>)
      return std::abs(v);
    else  // through unsigned: the smallest integer has no negative
      return static_cast<T>(v < 0 ? 0 - static_cast<std::make_unsigned_t<T>>(v)
                                  : static_cast<std::make_unsigned_t<T>>(v));
  });
}

template <typename T>
void abs_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  unary_grad<T>(ctx, x, out_grad, x_grad, [](Compute<T> v, Compute<T> g) {
    return v == 0 ? Compute<T>(0) : v < 0 ? static_cast<Compute<T>>(-g) : g;
  });
}

template <typename T>
void floor(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) {
    if constexpr (is_floating<T>)
      return std::floor(v);
    else
      return v;
  });
}

template <typename T>
void ceil(Context& ctx, const Tensor& x, Output& out) {
  host::unary<T, T>(ctx, x, out, [](Compute<T> v) {
    if constexpr (is_floating<T>)
      return std::ceil(v);
    else
      return v;
  });
}

// Steps are flat.
template <typename T>
void step_grad(Context& ctx, const Tensor& out_grad, Output& x_grad) {
  if (x_grad) host::unary<T, T>(ctx, out_grad, x_grad, [](Compute<T>) { return T(0); });
}

ADAPTER_KERNEL("abs", abs, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("abs_grad", abs_grad, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("floor", floor, none, float, double, float16, bfloat16, int32_t, int64_t, int8_t, uint8_t)
ADAPTER_KERNEL("floor_grad", step_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("ceil", ceil, none, float, double, float16, bfloat16, int32_t, int64_t, int8_t, uint8_t)
ADAPTER_KERNEL("ceil_grad", step_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
