#include <algorithm>

#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "copy.h"
#include "slices.h"

namespace adapter::kernels {

template <typename T>
void strided_slice(Context& ctx, const Tensor& x, const std::vector<int32_t>& axes, const IntArray& starts,
                   const IntArray& ends, const IntArray& steps, Output& out) {
  const StridedSelection part = strided_selection(x.shape, axes, starts, ends, steps);
  ctx.resize(out, part.shape);
  gather_strided<T>(ctx, x, part.strides, part.offset, out);
}

template <typename T>
void strided_slice_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const std::vector<int32_t>& axes,
                        const IntArray& starts, const IntArray& ends, const IntArray& steps, Output& x_grad) {
  const StridedSelection part = strided_selection(x.shape, axes, starts, ends, steps);
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  const int64_t n = x.numel();
  const host::Walk<2> walk(part.shape, {part.strides, host::contiguous_strides(part.shape)});
  host::launch(ctx, [=] {
    fill_all(r, n, T(0));
    copy_rows(walk, r + part.offset, g);
  });
}

ADAPTER_KERNEL("strided_slice", strided_slice, none, float, double, float16, bfloat16, int32_t, int64_t, bool, int8_t,
               uint8_t)
ADAPTER_KERNEL("strided_slice_grad", strided_slice_grad, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
