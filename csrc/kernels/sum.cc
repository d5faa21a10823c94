#include "adapter_sdk/kernel.h"
#include "dispatch.h"
#include "reduction.h"

namespace adapter::kernels {

// Writes a sum as the dtype asked for.
template <typename Sum>
using StoreSum = void (*)(void* out, int64_t i, Sum sum);

template <typename Out, typename Sum>
void store_sum(void* out, int64_t i, Sum sum) {
  static_cast<Out*>(out)[i] = static_cast<Out>(sum);
}

// Sums in `Sum`: one loop for every dtype that is held in it.
template <typename T, typename Sum>
ADAPTER_NOINLINE void sum_into(const host::FoldSpace<1>& space, const T* x, void* out, StoreSum<Sum> store) {
  host::fold_results<1>(space, host::SumFold<Sum>{}, host::Elements<T>{x},
                        [=](int64_t i, Sum total) { store(out, i, total); });
}

// `dtype` is what the caller asked for; without it the result is as Paddle inferred it (int64 for bool and int32).
template <typename T>
void sum(Context& ctx, const Tensor& x, const IntArray& axes, DType dtype, bool keep_dim, Output& out) {
  const DType wanted = dtype != DType::undefined ? dtype : out.dtype;
  ctx.resize(out, reduced_shape(x.shape, axes, keep_dim, false));
  const T* a = host::in<T>(x);
  visit_dtype<float, double, int32_t, int64_t, float16, bfloat16, T>(wanted, "the result of sum", [&](auto tag) {
    using Out = typename decltype(tag)::type;
    using Sum = Accumulator<Out>;
    void* r = host::out<Out>(ctx, out);
    host::launch(ctx, [=, space = fold_space(host::reduction(x.shape, axes, false))] {
      sum_into<T, Sum>(space, a, r, &store_sum<Out, Sum>);
    });
  });
}

// Both dtypes can differ from the kernel's, which is the wider of the two when the sum was made in another dtype.
inline void spread_sum(Context& ctx, const Tensor& x, const Tensor& out_grad, const IntArray& axes, bool reduce_all,
                       Output& x_grad) {
  visit_dtype<float, double, float16, bfloat16, int32_t, int64_t, bool>(x.dtype, "the operand of a sum", [&](auto own) {
    using T = typename decltype(own)::type;
    visit_dtype<float, double, float16, bfloat16, int32_t, int64_t>(
        out_grad.dtype, "the gradient of a sum", [&](auto tag) {
          const auto* g = host::in<typename decltype(tag)::type>(out_grad);
          reduce_grad<T>(ctx, x.shape, axes, reduce_all, x_grad,
                         [=](int64_t, int64_t i) { return static_cast<T>(g[i]); });
        });
  });
}

template <typename T>
void sum_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const IntArray& axes, bool /*keep_dim*/,
              bool reduce_all, Output& x_grad) {
  spread_sum(ctx, x, out_grad, axes, reduce_all, x_grad);
}

ADAPTER_KERNEL("sum", sum, wide, float, double, float16, bfloat16, int32_t, int64_t, bool, uint8_t, int8_t, int16_t)
ADAPTER_KERNEL("sum_grad", sum_grad, none, float, double, float16, bfloat16, int32_t, int64_t, bool)

}  // namespace adapter::kernels
