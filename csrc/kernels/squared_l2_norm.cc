#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/host/fold.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// Sum of squares of all elements, of shape [1].
template <typename T>
void squared_l2_norm(Context& ctx, const Tensor& x, Output& out) {
  ctx.resize(out, {1});
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const int64_t n = x.numel();
  host::launch(ctx, [=] {
    using Sum = Accumulator<T>;
    const auto square = [=](int64_t i) {
      const auto value = static_cast<Sum>(static_cast<Compute<T>>(a[i]));
      return value * value;
    };
    const host::FoldSpace<1> all(Shape{}, {Shape{}}, Shape{n}, {Shape{1}});
    host::fold_results<1>(all, host::SumFold<Sum>{}, square, [=](int64_t, Sum total) { r[0] = static_cast<T>(total); });
  });
}

template <typename T>
void squared_l2_norm_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* a = host::in<T>(x);
  const T* g = host::in<T>(out_grad);
  const int64_t n = x.numel();
  host::launch(ctx, [=] {
    if (n == 0) return;
    const auto factor = 2 * static_cast<Compute<T>>(g[0]);
    host::parallel_for(n, host::kElementGrain, [=](int64_t begin, int64_t end) {
      host::map(a + begin, r + begin, end - begin, [=](Compute<T> v) { return factor * v; });
    });
  });
}

ADAPTER_KERNEL("squared_l2_norm", squared_l2_norm, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("squared_l2_norm_grad", squared_l2_norm_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
