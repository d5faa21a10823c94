#include <cstring>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"

namespace adapter::kernels {

template <typename T>
void assign(Context& ctx, const Tensor& x, Output& out) {
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const int64_t n = x.numel();
  if (n > 0 && r != a) host::launch(ctx, [=] { copy_all(r, a, n); });
}

// What the static executor calls for assign and clone.
template <typename T>
void assign_raw(Context& ctx, const OptionalTensor& x, Output& out) {
  if (!x) throw InvalidArgument("assign without an input");
  assign<T>(ctx, x, out);
}

// What a static graph calls for detach. A copy: an output cannot take over the storage of an input that stays in use.
template <typename T>
void share_data(Context& ctx, const Tensor& x, Output& out) {
  assign<T>(ctx, x, out);
}

ADAPTER_KERNEL("share_data", share_data, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t, bool)
ADAPTER_KERNEL("assign_raw", assign_raw, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t, bool)
ADAPTER_KERNEL("assign", assign, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t, uint8_t,
               bool)

}  // namespace adapter::kernels
