#include "adapter_sdk/kernel.h"
#include "norm_rows.h"

namespace adapter::kernels {

// The last axes, `normalized_shape`, are normalised together: `count` rows of `width` elements.
struct RmsRows {
  int64_t count, width = 1;
  Shape outer;
  RmsRows(const Shape& shape, const std::vector<int64_t>& normalized_shape) {
    const int first = shape.rank - static_cast<int>(normalized_shape.size());
    if (first < 0)
      throw InvalidArgument("cannot normalise " + std::to_string(normalized_shape.size()) + " axes of " +
                            to_string(shape));
    for (int i = 0; i < shape.rank; ++i) {
      if (i >= first && shape[i] != normalized_shape[static_cast<size_t>(i - first)])
        throw InvalidArgument("the last axes of " + to_string(shape) + " are not normalized_shape " +
                              to_string(Shape(normalized_shape)));
      if (i < first) outer.push_back(shape[i]);
    }
    count = outer.numel();
    width = shape.product(first, shape.rank);
  }
};

template <typename T>
void rms_norm(Context& ctx, const Tensor& x, const OptionalTensor& scale, const std::vector<int64_t>& normalized_shape,
              double epsilon, Output& out, Output& inverse) {
  using C = Compute<T>;
  const RmsRows rows(x.shape, normalized_shape);
  const NormForward<T> norm{rows.count, rows.width, false, epsilon, {scale, rows.width, "scale"}, {}};
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  C* inverses = nullptr;
  if (inverse) {
    ctx.resize(inverse, rows.outer);
    inverses = host::out<C>(ctx, inverse);
  }
  const T* a = host::in<T>(x);
  host::launch(ctx, [=] {
    norm.run_plain(a, r, [=](int64_t i, const auto& m) {
      if (inverses) inverses[i] = static_cast<C>(m.factor);
    });
  });
}

template <typename T>
void rms_norm_grad(Context& ctx, const Tensor& x, const OptionalTensor& scale, const Tensor& inverse,
                   const Tensor& out_grad, const std::vector<int64_t>& normalized_shape, double /*epsilon*/,
                   Output& x_grad, Output& scale_grad) {
  using Sum = Accumulator<T>;
  const RmsRows rows(x.shape, normalized_shape);
  NormBackward<T> norm{
      rows.count, rows.width, false, host::in<T>(x), host::in<T>(out_grad), nullptr, {scale, rows.width, "scale"},
      {},         {}};
  if (x_grad) {
    ctx.resize(x_grad, x.shape);
    norm.dx = host::out<T>(ctx, x_grad);
  }
  norm.scale_grad =
      ColumnGradient(ctx, scale_grad, scale ? scale.shape : Shape(normalized_shape), scale ? scale.dtype : dtype_of<T>);
  const auto* inverses = host::in<Compute<T>>(inverse);
  host::launch(ctx, [=] { norm.run([=](int64_t i) { return RowMoments<Sum>{0, 0, static_cast<Sum>(inverses[i])}; }); });
}

ADAPTER_FUSED_KERNEL("rms_norm", rms_norm, wide, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("rms_norm_grad", rms_norm_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
