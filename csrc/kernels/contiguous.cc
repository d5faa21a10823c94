// The one kernel that sees a view: it makes a dense copy. Mandatory, Paddle has no fallback for it.
#include "adapter_sdk/kernel.h"
#include "copy.h"

namespace adapter::kernels {

// Paddle gives the address of the view's first element; strides are in elements.
template <typename T>
void contiguous(Context& ctx, const Tensor& x, Output& out) {
  gather_strided<T>(ctx, x, ctx.layout(x).strides, 0, out);
}

ADAPTER_KERNEL("contiguous", contiguous, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t, bool)

}  // namespace adapter::kernels
