#include "adapter_sdk/kernel.h"
#include "norm_rows.h"

namespace adapter::kernels {

// A tensor as `count` rows of `width` elements; everything from `begin_axis` on is normalised together.
struct NormRows {
  int64_t count, width;
  NormRows(const Shape& shape, int32_t begin_axis) {
    const int axis = shape.axis(begin_axis);
    count = shape.product(0, axis);
    width = shape.product(axis, shape.rank);
  }
};

template <typename T>
void layer_norm(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& bias, float epsilon,
                int32_t begin_norm_axis, Output& out, Output& mean, Output& variance) {
  using C = Compute<T>;  // the dtype of the statistics
  const NormRows rows(x.shape, begin_norm_axis);
  const NormForward<T> norm{
      rows.count, rows.width, true, epsilon, {scale, rows.width, "scale"}, {bias, rows.width, "bias"}};
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  C* means = mean ? host::out<C>(ctx, mean) : nullptr;
  C* variances = variance ? host::out<C>(ctx, variance) : nullptr;
  const T* a = host::in<T>(x);
  host::launch(ctx, [=] {
    norm.run_plain(a, r, [=](int64_t i, const auto& m) {
      if (means) means[i] = static_cast<C>(m.mean);
      if (variances) variances[i] = static_cast<C>(m.square);
    });
  });
}

template <typename T>
void layer_norm_grad(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& bias,
                     const Tensor& mean, const Tensor& variance, const Tensor& out_grad, float epsilon,
                     int32_t begin_norm_axis, Output& x_grad, Output& scale_grad, Output& bias_grad) {
  using Sum = Accumulator<T>;
  const NormRows rows(x.shape, begin_norm_axis);
  NormBackward<T> norm{
      rows.count, rows.width, true, host::in<T>(x), host::in<T>(out_grad), nullptr, {scale, rows.width, "scale"},
      {},         {}};
  if (x_grad) {
    ctx.resize(x_grad, x.shape);
    norm.dx = host::out<T>(ctx, x_grad);
  }
  norm.scale_grad = ColumnGradient(ctx, scale_grad, Shape{rows.width}, scale ? scale.dtype : dtype_of<T>);
  norm.bias_grad = ColumnGradient(ctx, bias_grad, Shape{rows.width}, bias ? bias.dtype : dtype_of<T>);
  const auto* means = host::in<Compute<T>>(mean);
  const auto* variances = host::in<Compute<T>>(variance);
  host::launch(ctx, [=] {
    norm.run([=](int64_t i) {
      const auto square = static_cast<Sum>(variances[i]);
      return RowMoments<Sum>{static_cast<Sum>(means[i]), square, 1 / std::sqrt(square + static_cast<Sum>(epsilon))};
    });
  });
}

ADAPTER_KERNEL("layer_norm", layer_norm, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("layer_norm_grad", layer_norm_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
