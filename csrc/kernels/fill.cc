// Tensor.fill_: writes one value over a tensor that exists.
#include <algorithm>
#include <cmath>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"

namespace adapter::kernels {

template <typename T>
void overwrite(Context& ctx, T value, Output& out) {
  T* r = host::out<T>(ctx, out);
  const int64_t n = out.numel();
  host::launch(ctx, [=] { fill_all(r, n, value); });
}

template <typename T>
void fill(Context& ctx, const Tensor& x, const Scalar& value, Output& out) {
  if (std::isnan(value.real)) throw InvalidArgument("the value to fill with is NaN, which Paddle forbids");
  ctx.resize(out, x.shape);
  overwrite<T>(ctx, value.to<T>(), out);
}

// What was overwritten has no influence.
template <typename T>
void fill_grad(Context& ctx, const Tensor& out_grad, const Scalar& /*value*/, Output& x_grad) {
  if (!x_grad) return;
  ctx.resize(x_grad, out_grad.shape);
  overwrite<T>(ctx, T(0), x_grad);
}

ADAPTER_KERNEL("fill", fill, none, float, double, float16, bfloat16, int32_t, int64_t, bool)
ADAPTER_KERNEL("fill_grad", fill_grad, none, float, double, float16, bfloat16, int32_t, int64_t, bool)

}  // namespace adapter::kernels
