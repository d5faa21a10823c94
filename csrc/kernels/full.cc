// Constant tensors.
#include <algorithm>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"

namespace adapter::kernels {

template <typename T>
void fill_output(Context& ctx, const Scalar& value, Output& out) {
  const T v = value.to<T>();
  T* r = host::out<T>(ctx, out);
  const int64_t n = out.numel();
  host::launch(ctx, [=] { fill_all(r, n, v); });
}

// The kernel key is the output's dtype.
template <typename T>
void full(Context& ctx, const IntArray& shape, const Scalar& value, DType /*dtype*/, Output& out) {
  ctx.resize(out, Shape(shape));
  fill_output<T>(ctx, value, out);
}

template <typename T>
void full_like(Context& ctx, const Tensor& x, const Scalar& value, DType /*dtype*/, Output& out) {
  ctx.resize(out, x.shape);
  fill_output<T>(ctx, value, out);
}

// `value` is a one-element tensor of the output's dtype, already on the device.
template <typename T>
void full_with_tensor(Context& ctx, const Tensor& value, const IntArray& shape, DType /*dtype*/, Output& out) {
  ctx.resize(out, Shape(shape));
  const T* v = host::in<T>(value);
  T* r = host::out<T>(ctx, out);
  const int64_t n = out.numel();
  host::launch(ctx, [=] {
    if (n > 0) fill_all(r, n, *v);
  });
}

ADAPTER_KERNEL("full", full, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t, uint8_t, bool)
ADAPTER_KERNEL("full_like", full_like, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t, bool)
ADAPTER_KERNEL("full_with_tensor", full_with_tensor, none, float, double, float16, bfloat16, int32_t, int64_t, bool,
               int8_t, uint8_t)

}  // namespace adapter::kernels
