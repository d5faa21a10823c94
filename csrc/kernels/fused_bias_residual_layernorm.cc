#include "adapter_sdk/kernel.h"
#include "residual_norm.h"

namespace adapter::kernels {

// Without norm_weight and norm_bias, but with a residual, the result is the sum itself, not normalised.
template <typename T>
void fused_bias_residual_layernorm(Context& ctx, const Tensor& x, const OptionalTensor& bias,
                                   const OptionalTensor& residual, const OptionalTensor& norm_weight,
                                   const OptionalTensor& norm_bias, float epsilon, float residual_alpha,
                                   int32_t begin_norm_axis, float quant_scale, int32_t quant_round_type,
                                   float quant_max_bound, float quant_min_bound, Output& out, Output& residual_out,
                                   Output& mean, Output& variance) {
  const int axis = x.shape.axis(begin_norm_axis);
  const int64_t rows = x.shape.product(0, axis), width = x.shape.product(axis, x.shape.rank);
  const NormQuantizer quantizer{quant_scale, quant_round_type, quant_max_bound, quant_min_bound};
  quantizer.check("fused_bias_residual_layernorm");
  const NormForward<T> norm{
      rows, width, true, epsilon, {norm_weight, width, "norm_weight"}, {norm_bias, width, "norm_bias"}};
  const bool sum_only = residual && !norm_weight && !norm_bias;
  const NormTarget<T> target(ctx, out, x.shape, quantizer);
  const ResidualRows<T> source = residual_rows<T>(ctx, x, bias, residual, residual_alpha, width, residual_out);
  float* statistics[2] = {};
  Output* outputs[2] = {&mean, &variance};
  for (int k = 0; k < 2; ++k) {
    if (!*outputs[k]) continue;
    if (!outputs[k]->shape.known() || outputs[k]->shape.numel() != rows) ctx.resize(*outputs[k], {rows});
    statistics[k] = host::out<float>(ctx, *outputs[k]);
  }
  float *means = statistics[0], *variances = statistics[1];
  const auto keep = [=](int64_t i, const auto& m) {
    if (means) means[i] = static_cast<float>(m.mean);
    if (variances) variances[i] = static_cast<float>(m.square);
  };
  using C = Compute<T>;
  host::launch(ctx, [=] {
    if (!sum_only)
      return norm.run(
          source, [](int64_t) { return static_cast<C*>(nullptr); },
          [=](int64_t i, const auto& m, const C* y) { keep(i, m), target.store(y, i, width); });
    host::parallel_for(rows, host::rows_grain(width), [&](int64_t begin, int64_t end) {
      std::vector<C> stage(static_cast<size_t>(width));
      for (int64_t i = begin; i < end; ++i) {
        const C* sum = source(i, stage.data());
        keep(i, row_moments<Accumulator<T>>(sum, width, true, epsilon));
        target.store(sum, i, width);
      }
    });
  });
}

ADAPTER_FUSED_KERNEL("fused_bias_residual_layernorm", fused_bias_residual_layernorm, wide, float, float16, bfloat16)

}  // namespace adapter::kernels
