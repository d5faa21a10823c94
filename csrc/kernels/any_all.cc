#include "adapter_sdk/kernel.h"
#include "reduction.h"

namespace adapter::kernels {

struct AnyFold {
  using State = uint8_t;
  State start() const { return 0; }
  template <typename Value>
  State step(State found, Value value) const {
    return static_cast<State>(found | (value != Value(0)));
  }
  State merge(State a, State b) const { return a | b; }
};

struct AllFold {
  using State = uint8_t;
  State start() const { return 1; }
  template <typename Value>
  State step(State every, Value value) const {
    return static_cast<State>(every & (value != Value(0)));
  }
  State merge(State a, State b) const { return a & b; }
};

template <typename T>
void any(Context& ctx, const Tensor& x, const std::vector<int64_t>& axes, bool keep_dim, Output& out) {
  reduce<T, bool>(ctx, x, axes, keep_dim, false, out, AnyFold{}, [](uint8_t found) { return found != 0; });
}

template <typename T>
void all(Context& ctx, const Tensor& x, const std::vector<int64_t>& axes, bool keep_dim, Output& out) {
  reduce<T, bool>(ctx, x, axes, keep_dim, false, out, AllFold{}, [](uint8_t every) { return every != 0; });
}

ADAPTER_KERNEL("any", any, none, bool, float, double, float16, bfloat16, int32_t, int64_t, int8_t, uint8_t)
ADAPTER_KERNEL("all", all, none, bool, float, double, float16, bfloat16, int32_t, int64_t, int8_t, uint8_t)

}  // namespace adapter::kernels
