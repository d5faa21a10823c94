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

// `input` broadcasts to the product. In place, `out` is `input`: each element is read before it is written.
template <typename T>
void addmm(Context& ctx, const Tensor& input, const Tensor& x, const Tensor& y, float beta, float alpha, Output& out) {
  const MatrixProduct product = addmm_product(x.shape, y.shape);
  const Shape strides = host::broadcast_strides(input.shape, product.result);
  ctx.resize(out, product.result);
  T* z = host::out<T>(ctx, out);
  const T* c = host::in<T>(input);
  const T* a = host::in<T>(x);
  const T* b = host::in<T>(y);
  const int64_t m = product.m, n = product.n, k = product.k, row_step = strides[0], step = strides[1];
  host::launch(ctx, [=] {
    using C = Compute<T>;
    const int64_t rows = std::max<int64_t>(1, (1 << 22) / std::max<int64_t>(1, n * std::max<int64_t>(k, 1)));
    host::parallel_for(m, rows, [&](int64_t begin, int64_t end) {
      std::vector<C> xy(static_cast<size_t>((end - begin) * n));
      if (n * k > 0) gemm_tile<T>(false, false, end - begin, n, k, a + begin * k, k, b, n, C(0), xy.data(), n);
      const C* sum = xy.data();
      for (int64_t i = begin; i < end; ++i)
        for (int64_t j = 0; j < n; ++j, ++sum)
          z[i * n + j] = static_cast<C>(beta) * c[i * row_step + j * step] + static_cast<C>(alpha) * *sum;
    });
  });
}

template <typename T>
void addmm_grad(Context& ctx, const Tensor& input, const Tensor& x, const Tensor& y, const Tensor& out_grad,
                float alpha, float beta, Output& input_grad, Output& x_grad, Output& y_grad) {
  launch_multiply_grad<T>(ctx, addmm_product(x.shape, y.shape), x, y, out_grad, x_grad, y_grad, Compute<T>(alpha));
  // Last: it may share the storage of out_grad.
  sum_to_shape<T>(ctx, out_grad, input.shape, input_grad, Accumulator<T>(beta));
}

ADAPTER_KERNEL("addmm", addmm, same, float, double, float16, bfloat16)
ADAPTER_KERNEL("addmm_grad", addmm_grad, same, float, double, float16, bfloat16)

}  // namespace adapter::kernels
