#include "adapter_sdk/kernel.h"
#include "residual_norm.h"

namespace adapter::kernels {

template <typename T>
void fused_rms_norm_quant(Context& ctx, const Tensor& x, const OptionalTensor& bias, const OptionalTensor& residual,
                          const Tensor& norm_weight, const OptionalTensor& norm_bias, float epsilon,
                          int32_t begin_norm_axis, float quant_scale, int32_t quant_round_type, float quant_max_bound,
                          float quant_min_bound, Output& out, Output& residual_out, Output& inv_var) {
  const int axis = x.shape.axis(begin_norm_axis);
  const int64_t rows = x.shape.product(0, axis), width = x.shape.product(axis, x.shape.rank);
  const NormQuantizer quantizer{quant_scale, quant_round_type, quant_max_bound, quant_min_bound};
  quantizer.check("fused_rms_norm_quant");
  const NormForward<T> norm{
      rows, width, false, epsilon, {norm_weight, width, "norm_weight"}, {norm_bias, width, "norm_bias"}};
  const NormTarget<T> target(ctx, out, x.shape, quantizer);
  const ResidualRows<T> source = residual_rows<T>(ctx, x, bias, residual, 1, width, residual_out);
  if (inv_var && (!inv_var.shape.known() || inv_var.shape.numel() != rows)) ctx.resize(inv_var, {rows});
  float* inverses = inv_var ? host::out<float>(ctx, inv_var) : nullptr;
  host::launch(ctx, [=] {
    norm.run(
        source, [](int64_t) { return static_cast<Compute<T>*>(nullptr); },
        [=](int64_t i, const auto& m, const Compute<T>* y) {
          if (inverses) inverses[i] = static_cast<float>(m.factor);
          target.store(y, i, width);
        });
  });
}

template <typename T>
void fused_rms_norm_quant_grad(Context& ctx, const Tensor& x, const OptionalTensor& bias,
                               const OptionalTensor& residual, const Tensor& norm_weight,
                               const OptionalTensor& norm_bias, const Tensor& inv_var, const Tensor& out_grad,
                               float /*epsilon*/, int32_t begin_norm_axis, float quant_scale, Output& x_grad,
                               Output& norm_weight_grad, Output& norm_bias_grad) {
  using Sum = Accumulator<T>;
  if (bias || residual)
    throw Unimplemented("fused_rms_norm_quant_grad with bias or residual: Paddle has no output for their gradients");
  if (quant_scale > 0) throw Unimplemented("fused_rms_norm_quant_grad of a quantised output");
  const int axis = x.shape.axis(begin_norm_axis);
  const int64_t rows = x.shape.product(0, axis), width = x.shape.product(axis, x.shape.rank);
  NormBackward<T> norm{
      rows, width, false, host::in<T>(x), host::in<T>(out_grad), nullptr, {norm_weight, width, "norm_weight"}, {}, {}};
  if (x_grad) {
    ctx.resize(x_grad, x.shape);
    norm.dx = host::out<T>(ctx, x_grad);
  }
  norm.scale_grad = ColumnGradient(ctx, norm_weight_grad, norm_weight.shape, norm_weight.dtype);
  norm.bias_grad = ColumnGradient(ctx, norm_bias_grad, norm_bias ? norm_bias.shape : Shape{0},
                                  norm_bias ? norm_bias.dtype : dtype_of<T>);
  if (!norm_bias) norm.bias_grad.data = nullptr;
  const auto* inverses = host::in<float>(inv_var);
  host::launch(ctx, [=] { norm.run([=](int64_t i) { return RowMoments<Sum>{0, 0, static_cast<Sum>(inverses[i])}; }); });
}

ADAPTER_FUSED_KERNEL("fused_rms_norm_quant", fused_rms_norm_quant, wide, float, float16, bfloat16)
ADAPTER_FUSED_KERNEL("fused_rms_norm_quant_grad", fused_rms_norm_quant_grad, wide, float, float16, bfloat16)

}  // namespace adapter::kernels
