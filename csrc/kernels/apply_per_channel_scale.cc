// x * scales, one scale for each place of the last axis: activations made ready for quantization.
#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
void apply_per_channel_scale(Context& ctx, const Tensor& x, const Tensor& scales, Output& out) {
  if (x.shape.rank == 0 || scales.shape != Shape{x.shape[x.shape.rank - 1]})
    throw InvalidArgument("apply_per_channel_scale: x " + to_string(x.shape) + " and scales " +
                          to_string(scales.shape));
  ctx.resize(out, x.shape);
  host::binary<T, T>(ctx, x, scales, out, [](Compute<T> v, Compute<T> s) { return v * s; });
}

ADAPTER_FUSED_KERNEL("apply_per_channel_scale", apply_per_channel_scale, none, float, float16, bfloat16)

}  // namespace adapter::kernels
