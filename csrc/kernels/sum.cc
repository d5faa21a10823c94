#include "adapter_sdk/kernel.h"
#include "dispatch.h"
#include "reduction.h"

namespace adapter::kernels {

// `dtype` is what the caller asked for; without it the result is as Paddle inferred it (int64 for bool and int32).
template <typename T>
void sum(Context& ctx, const Tensor& x, const IntArray& axes, DType dtype, bool keep_dim, Output& out) {
  const DType wanted = dtype != DType::undefined ? dtype : out.dtype;
  visit_dtype<float, double, int32_t, int64_t, float16, bfloat16, T>(wanted, "the result of sum", [&](auto tag) {
    using Out = typename decltype(tag)::type;
    using Sum = Accumulator<Out>;
    reduce<T, Out>(ctx, x, axes, keep_dim, false, out, host::SumFold<Sum>{}, [](Sum total) { return total; });
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
