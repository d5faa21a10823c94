#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/strided.h"
#include "adapter_sdk/kernel.h"
#include "binary_grad.h"

namespace adapter::kernels {

// x, mask and value broadcast together.
template <typename T>
void masked_fill(Context& ctx, const Tensor& x, const Tensor& mask, const Tensor& value, Output& out) {
  const Shape space = host::broadcast_shape(host::broadcast_shape(x.shape, mask.shape), value.shape);
  ctx.resize(out, space);
  const T *a = host::in<T>(x), *v = host::in<T>(value);
  const bool* m = host::in<bool>(mask);
  T* r = host::out<T>(ctx, out);
  const host::Walk<4> walk(space,
                           {host::contiguous_strides(space), host::broadcast_strides(x.shape, space),
                            host::broadcast_strides(mask.shape, space), host::broadcast_strides(value.shape, space)});
  host::launch(ctx, [=] {
    const int64_t sa = walk.inner_stride(1), sm = walk.inner_stride(2), sv = walk.inner_stride(3);
    host::parallel_rows(walk, [&](const std::array<int64_t, 4>& o, int64_t n) {
      for (int64_t i = 0; i < n; ++i) r[o[0] + i] = m[o[2] + i * sm] ? v[o[3] + i * sv] : a[o[1] + i * sa];
    });
  });
}

template <typename T>
void masked_fill_grad(Context& ctx, const Tensor& x, const Tensor& mask, const Tensor& value, const Tensor& out_grad,
                      Output& x_grad, Output& value_grad) {
  const bool* m = host::in<bool>(mask);
  const T* g = host::in<T>(out_grad);
  const BroadcastPair pair{out_grad.shape, x.shape, mask.shape};
  sum_terms<T>(ctx, pair, value.shape, value_grad,
               [=](int64_t k, int64_t, int64_t j) { return m[j] ? Compute<T>(g[k]) : Compute<T>(0); });
  sum_terms<T>(ctx, pair, x.shape, x_grad,
               [=](int64_t k, int64_t, int64_t j) { return m[j] ? Compute<T>(0) : Compute<T>(g[k]); });
}

ADAPTER_KERNEL("masked_fill", masked_fill, none, float, double, float16, bfloat16, int32_t, int64_t, bool, int8_t,
               uint8_t)
ADAPTER_KERNEL("masked_fill_grad", masked_fill_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
