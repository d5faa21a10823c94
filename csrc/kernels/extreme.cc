// Largest and smallest elements.
#include <limits>

#include "adapter_sdk/kernel.h"
#include "reduction.h"

namespace adapter::kernels {

// NaN wins over every number.
template <typename T>
struct Larger {
  using Value = T;
  static constexpr T worst =
      std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
  static bool wins(T candidate, T best) { return (candidate > best) | (candidate != candidate); }
};
template <typename T>
struct Smaller {
  using Value = T;
  static constexpr T worst =
      std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
  static bool wins(T candidate, T best) { return (candidate < best) | (candidate != candidate); }
};

template <typename Order>
struct ExtremeFold {
  using State = typename Order::Value;
  State start() const { return Order::worst; }
  State step(State best, State value) const { return Order::wins(value, best) ? value : best; }
  State merge(State a, State b) const { return step(a, b); }
};

template <template <typename> class Order, typename T>
void extreme(Context& ctx, const Tensor& x, const IntArray& axes, bool keep_dim, Output& out) {
  if (reduced_count(x.shape, axes, false) == 0 && reduced_shape(x.shape, axes, false, false).numel() > 0)
    throw InvalidArgument("a tensor of shape " + to_string(x.shape) + " has no largest or smallest element");
  using C = Compute<T>;
  reduce<T, T>(ctx, x, axes, keep_dim, false, out, ExtremeFold<Order<C>>{}, [](C best) { return best; });
}

// The elements that equal the result share its gradient. A NaN equals nothing: its gradient is NaN (0 / 0).
template <typename T>
void extreme_grad(Context& ctx, const Tensor& x, const Tensor& out, const Tensor& out_grad, const IntArray& axes,
                  bool /*keep_dim*/, bool reduce_all, Output& x_grad) {
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* a = host::in<T>(x);
  const T* y = host::in<T>(out);
  const T* g = host::in<T>(out_grad);
  const host::Reduction plan = host::reduction(x.shape, axes, reduce_all);
  host::launch(ctx, [=] {
    host::for_each_result(plan, [&](int64_t i, auto&& fold) {
      int64_t ties = 0;
      fold([&](int64_t k) { ties += a[k] == y[i]; });
      using C = Compute<T>;
      const C share = ties > 0 ? g[i] / static_cast<C>(ties) : std::numeric_limits<C>::quiet_NaN();
      fold([&](int64_t k) { r[k] = static_cast<T>(a[k] == y[i] || ties == 0 ? share : C(0)); });
    });
  });
}

template <typename T>
void max(Context& ctx, const Tensor& x, const IntArray& axes, bool keep_dim, Output& out) {
  extreme<Larger, T>(ctx, x, axes, keep_dim, out);
}

template <typename T>
void min(Context& ctx, const Tensor& x, const IntArray& axes, bool keep_dim, Output& out) {
  extreme<Smaller, T>(ctx, x, axes, keep_dim, out);
}

ADAPTER_KERNEL("max", max, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("max_grad", extreme_grad, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("min", min, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("min_grad", extreme_grad, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
