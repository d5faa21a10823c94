#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// The shape of x as a tensor; the kernel key is the dtype of x.
template <typename T>
void shape64(Context& ctx, const Tensor& x, Output& out) {
  ctx.resize(out, {x.shape.rank});
  int64_t* r = host::out<int64_t>(ctx, out);
  host::launch(ctx, [=, shape = x.shape] {
    for (int i = 0; i < shape.rank; ++i) r[i] = shape[i];
  });
}

ADAPTER_KERNEL("shape64", shape64, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t, uint8_t,
               bool)

}  // namespace adapter::kernels
