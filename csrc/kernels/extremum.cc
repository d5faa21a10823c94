// maximum and minimum (NaN if either operand is), fmax and fmin (the operand that is a number).
#include <cmath>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "binary_grad.h"

namespace adapter::kernels {

template <typename T>
bool is_nan(T value) {
  return value != value;
}

template <typename T>
void maximum(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return is_nan(a) | (a > b) ? a : b; });
}

template <typename T>
void minimum(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return is_nan(a) | (a < b) ? a : b; });
}

template <typename T>
void fmax(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return is_nan(b) | (a >= b) ? a : b; });
}

template <typename T>
void fmin(Context& ctx, const Tensor& x, const Tensor& y, Output& out) {
  host::binary<T, T>(ctx, x, y, out, [](Compute<T> a, Compute<T> b) { return is_nan(b) | (a <= b) ? a : b; });
}

// share_x(x, y) is the share of the gradient that goes to x, share_y the one that goes to y.
template <typename T, typename ShareX, typename ShareY>
void extremum_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, Output& x_grad,
                   Output& y_grad, ShareX share_x, ShareY share_y) {
  using C = Compute<T>;
  const T *a = host::in<T>(x), *b = host::in<T>(y), *g = host::in<T>(out_grad);
  const BroadcastPair pair{out_grad.shape, x.shape, y.shape};
  sum_terms<T>(ctx, pair, y.shape, y_grad,
               [=](int64_t k, int64_t i, int64_t j) { return C(g[k]) * share_y(C(a[i]), C(b[j])); });
  sum_terms<T>(ctx, pair, x.shape, x_grad,
               [=](int64_t k, int64_t i, int64_t j) { return C(g[k]) * share_x(C(a[i]), C(b[j])); });
}

// Equal operands get half each.
template <typename T>
T share_of_greater(T own, T other) {
  return own > other ? T(1) : own == other ? T(0.5) : T(0);
}

template <typename T>
void maximum_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, Output& x_grad,
                  Output& y_grad) {
  extremum_grad<T>(
      ctx, x, y, out_grad, x_grad, y_grad, [](Compute<T> a, Compute<T> b) { return share_of_greater(a, b); },
      [](Compute<T> a, Compute<T> b) { return share_of_greater(b, a); });
}

template <typename T>
void minimum_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, Output& x_grad,
                  Output& y_grad) {
  extremum_grad<T>(
      ctx, x, y, out_grad, x_grad, y_grad, [](Compute<T> a, Compute<T> b) { return share_of_greater(b, a); },
      [](Compute<T> a, Compute<T> b) { return share_of_greater(a, b); });
}

// Equal operands: all to x.
template <typename T>
void fmax_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, Output& x_grad, Output& y_grad) {
  extremum_grad<T>(
      ctx, x, y, out_grad, x_grad, y_grad, [](Compute<T> a, Compute<T> b) { return Compute<T>(is_nan(b) | (a >= b)); },
      [](Compute<T> a, Compute<T> b) { return Compute<T>(!(is_nan(b) | (a >= b))); });
}

template <typename T>
void fmin_grad(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out_grad, Output& x_grad, Output& y_grad) {
  extremum_grad<T>(
      ctx, x, y, out_grad, x_grad, y_grad, [](Compute<T> a, Compute<T> b) { return Compute<T>(is_nan(b) | (a <= b)); },
      [](Compute<T> a, Compute<T> b) { return Compute<T>(!(is_nan(b) | (a <= b))); });
}

ADAPTER_KERNEL("maximum", maximum, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("maximum_grad", maximum_grad, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("minimum", minimum, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("minimum_grad", minimum_grad, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("fmax", fmax, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("fmax_grad", fmax_grad, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("fmin", fmin, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("fmin_grad", fmin_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
