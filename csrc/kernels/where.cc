#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/loops.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// Both are read whatever is chosen, so that loops vectorise.
template <typename T>
T chosen_of(bool first, T a, T b) {
  if constexpr (is_half<T>) {
    T result;
    result.bits = first ? a.bits : b.bits;
    return result;
  } else {
    return first ? a : b;
  }
}

// Paddle broadcasts before it calls: the three shapes are equal.
template <typename T>
void where(Context& ctx, const Tensor& condition, const Tensor& x, const Tensor& y, Output& out) {
  if (condition.shape != x.shape || x.shape != y.shape)
    throw InvalidArgument("the shapes of condition, x and y differ: " + to_string(condition.shape) + ", " +
                          to_string(x.shape) + ", " + to_string(y.shape));
  ctx.resize(out, x.shape);
  const bool* c = host::in<bool>(condition);
  const T *a = host::in<T>(x), *b = host::in<T>(y);
  T* r = host::out<T>(ctx, out);
  const int64_t n = out.numel();
  host::launch(ctx, [=] {
    host::parallel_for(n, host::kElementGrain, [=](int64_t begin, int64_t end) {
      ADAPTER_INDEPENDENT
      for (int64_t i = begin; i < end; ++i) r[i] = chosen_of(c[i], a[i], b[i]);
    });
  });
}

// grad = out_grad where the condition is `chosen`, 0 elsewhere.
template <typename T>
void keep_where(Context& ctx, const Tensor& condition, bool chosen, const Tensor& out_grad, Output& grad) {
  if (!grad) return;
  ctx.resize(grad, out_grad.shape);
  const bool* c = host::in<bool>(condition);
  const T* g = host::in<T>(out_grad);
  T* r = host::out<T>(ctx, grad);
  const int64_t n = grad.numel();
  host::launch(ctx, [=] {
    host::parallel_for(n, host::kElementGrain, [=](int64_t begin, int64_t end) {
      ADAPTER_INDEPENDENT
      for (int64_t i = begin; i < end; ++i) r[i] = chosen_of(c[i] == chosen, g[i], T(0));
    });
  });
}

template <typename T>
void where_grad(Context& ctx, const Tensor& condition, const Tensor& /*x*/, const Tensor& /*y*/, const Tensor& out_grad,
                Output& x_grad, Output& y_grad) {
  keep_where<T>(ctx, condition, false, out_grad, y_grad);
  keep_where<T>(ctx, condition, true, out_grad, x_grad);
}

ADAPTER_KERNEL("where", where, none, float, double, float16, bfloat16, int32_t, int64_t, bool)
ADAPTER_KERNEL("where_grad", where_grad, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
