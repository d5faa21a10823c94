#include "adapter_sdk/kernel.h"
#include "reduction.h"

namespace adapter::kernels {

template <typename T>
void any(Context& ctx, const Tensor& x, const std::vector<int64_t>& axes, bool keep_dim, Output& out) {
  reduce<T, bool>(ctx, x, axes, keep_dim, false, out, [](auto&& fold) {
    bool found = false;
    fold([&](T value) { found |= value != T(0); });
    return found;
  });
}

template <typename T>
void all(Context& ctx, const Tensor& x, const std::vector<int64_t>& axes, bool keep_dim, Output& out) {
  reduce<T, bool>(ctx, x, axes, keep_dim, false, out, [](auto&& fold) {
    bool every = true;
    fold([&](T value) { every &= value != T(0); });
    return every;
  });
}

ADAPTER_KERNEL("any", any, none, bool, float, double, float16, bfloat16, int32_t, int64_t, int8_t, uint8_t)
ADAPTER_KERNEL("all", all, none, bool, float, double, float16, bfloat16, int32_t, int64_t, int8_t, uint8_t)

}  // namespace adapter::kernels
