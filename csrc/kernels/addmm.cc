// out = beta * input + alpha * x * y
#include "adapter_sdk/kernel.h"
#include "broadcast_grad.h"
#include "matrices.h"

namespace adapter::kernels {

inline MatrixProduct addmm_product(const Shape& x, const Shape& y) {
  if (x.rank != 2 || y.rank != 2)
    throw InvalidArgument("addmm multiplies matrices, got " + to_string(x) + " and " + to_string(y));
  return {x, y, false, false};
}

// `input` broadcasts to the product. In place, `out` is `input`, so the product is made aside.
template <typename T>
void addmm(Context& ctx, const Tensor& input, const Tensor& x, const Tensor& y, float beta, float alpha, Output& out) {
  const MatrixProduct product = addmm_product(x.shape, y.shape);
  const Shape strides = host::broadcast_strides(input.shape, product.result);
  ctx.resize(out, product.result);
  T* z = host::out<T>(ctx, out);
  const T* c = host::in<T>(input);
  const T* a = host::in<T>(x);
  const T* b = host::in<T>(y);
  const host::Walk<2> walk(product.result, {host::contiguous_strides(product.result), strides});
  host::launch(ctx, [=] {
    std::vector<T> xy(static_cast<size_t>(product.result.numel()));
    multiply(product, a, b, xy.data());
    walk.rows([&](const std::array<int64_t, 2>& o, int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        const int64_t k = o[0] + i * walk.inner_stride(0);
        z[k] = static_cast<T>(beta) * c[o[1] + i * walk.inner_stride(1)] +
               static_cast<T>(alpha) * xy[static_cast<size_t>(k)];
      }
    });
  });
}

template <typename T>
void scale_later(Context& ctx, const Output& grad, T factor) {
  if (!grad || factor == T(1)) return;
  T* r = static_cast<T*>(host::alias(grad.data));
  const int64_t n = grad.numel();
  host::launch(ctx, [=] {
    for (int64_t i = 0; i < n; ++i) r[i] *= factor;
  });
}

template <typename T>
void addmm_grad(Context& ctx, const Tensor& input, const Tensor& x, const Tensor& y, const Tensor& out_grad,
                float alpha, float beta, Output& input_grad, Output& x_grad, Output& y_grad) {
  launch_multiply_grad<T>(ctx, addmm_product(x.shape, y.shape), x, y, out_grad, x_grad, y_grad);
  scale_later<T>(ctx, x_grad, static_cast<T>(alpha));
  scale_later<T>(ctx, y_grad, static_cast<T>(alpha));
  // Last: it may share the storage of out_grad.
  sum_to_shape<T>(ctx, out_grad, input.shape, input_grad, Accumulator<T>(beta));
}

ADAPTER_KERNEL("addmm", addmm, same, float, double, float16, bfloat16)
ADAPTER_KERNEL("addmm_grad", addmm_grad, same, float, double, float16, bfloat16)

}  // namespace adapter::kernels
