// RMS normalisation of the last axis, as Paddle's two short forms of it have it. The inverse root is float32 (float64
// for float64), one number a row.
#include "adapter_sdk/kernel.h"
#include "norm_rows.h"

namespace adapter::kernels {

inline int64_t last_axis_width(const Shape& shape) {
  if (shape.rank == 0) throw InvalidArgument("fused_rms_norm_ext of a 0-D tensor");
  return shape[shape.rank - 1];
}

template <typename T>
void fused_rms_norm_ext(Context& ctx, const Tensor& x, const Tensor& scale, float epsilon, Output& out,
                        Output& inverse) {
  using C = Compute<T>;
  const int64_t width = last_axis_width(x.shape), rows = x.shape.product(0, x.shape.rank - 1);
  const NormForward<T> norm{rows, width, false, epsilon, {scale, width, "scale"}, {}};
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  if (inverse && (!inverse.shape.known() || inverse.shape.numel() != rows)) ctx.resize(inverse, {rows});
  C* inverses = inverse ? host::out<C>(ctx, inverse) : nullptr;
  const T* a = host::in<T>(x);
  host::launch(ctx, [=] {
    norm.run_plain(a, r, [=](int64_t i, const auto& m) {
      if (inverses) inverses[i] = static_cast<C>(m.factor);
    });
  });
}

template <typename T>
void fused_rms_norm_ext_grad(Context& ctx, const Tensor& x, const Tensor& scale, const Tensor& inverse,
                             const Tensor& out_grad, float /*epsilon*/, Output& x_grad, Output& scale_grad) {
  using Sum = Accumulator<T>;
  const int64_t width = last_axis_width(x.shape), rows = x.shape.product(0, x.shape.rank - 1);
  NormBackward<T> norm{rows, width, false, host::in<T>(x), host::in<T>(out_grad), nullptr, {scale, width, "scale"},
                       {},   {}};
  if (x_grad) {
    ctx.resize(x_grad, x.shape);
    norm.dx = host::out<T>(ctx, x_grad);
  }
  norm.scale_grad = ColumnGradient(ctx, scale_grad, scale.shape, scale.dtype);
  const auto* inverses = host::in<Compute<T>>(inverse);
  host::launch(ctx, [=] { norm.run([=](int64_t i) { return RowMoments<Sum>{0, 0, static_cast<Sum>(inverses[i])}; }); });
}

ADAPTER_FUSED_KERNEL("fused_rms_norm_ext", fused_rms_norm_ext, wide, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("fused_rms_norm_ext_grad", fused_rms_norm_ext_grad, wide, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("fast_rms_norm", fused_rms_norm_ext, wide, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("fast_rms_norm_grad", fused_rms_norm_ext_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
