// Integers of x, in the dtype of x, with given scales or with scales measured here. The zero point is always 0:
// Paddle's kernels take it and do not look at it.
#include <vector>

#include "adapter_sdk/kernel.h"
#include "fake_quantize.h"

namespace adapter::kernels {

inline constexpr float kScaleRate = 0.9f;  // of the moving average, fixed by the operator

template <typename T>
void quantize_linear_train(Context& ctx, const Tensor& x, const Tensor& scale, const Tensor& /*zero_point*/,
                           const OptionalTensor& in_accum, const OptionalTensor& in_state, int32_t quant_axis,
                           int32_t /*bit_length*/, int32_t /*qmin*/, int32_t qmax, int32_t round_type,
                           bool only_observer, Output& out, Output& out_state, Output& out_accum, Output& out_scale) {
  const Grid grid(qmax, round_type);
  if (quant_axis < 0) {
    const MovingAverage<T> average(ctx, in_accum, in_state, kScaleRate, out_scale, out_state, out_accum);
    return launch_moving_average<GridResult::integers>(ctx, x, grid, average, only_observer, out);
  }
  Channels(x.shape, quant_axis).require_scales(scale);
  launch_measured<GridResult::integers, T>(ctx, x, grid, quant_axis, only_observer, out, out_scale);
  carry_over<T>(ctx, in_state, out_state);
  carry_over<T>(ctx, in_accum, out_accum);
}

template <typename T>
void quantize_linear_infer(Context& ctx, const Tensor& x, const Tensor& scale, const Tensor& /*zero_point*/,
                           int32_t quant_axis, int32_t /*bit_length*/, int32_t /*qmin*/, int32_t qmax,
                           int32_t round_type, bool only_observer, Output& out) {
  launch_given<GridResult::integers, T>(ctx, x, scale, Grid(qmax, round_type), quant_axis, only_observer, out);
}

template <typename T>
void quantize_linear(Context& ctx, const Tensor& x, const OptionalTensor& scale, const Tensor& zero_point,
                     const OptionalTensor& in_accum, const OptionalTensor& in_state, int32_t quant_axis,
                     int32_t bit_length, int32_t qmin, int32_t qmax, int32_t round_type, bool is_test,
                     bool only_observer, Output& out, Output& out_state, Output& out_accum, Output& out_scale) {
  if (!scale) throw InvalidArgument("quantize_linear needs a scale");
  if (!is_test)
    return quantize_linear_train<T>(ctx, x, scale, zero_point, in_accum, in_state, quant_axis, bit_length, qmin, qmax,
                                    round_type, only_observer, out, out_state, out_accum, out_scale);
  quantize_linear_infer<T>(ctx, x, scale, zero_point, quant_axis, bit_length, qmin, qmax, round_type, only_observer,
                           out);
  carry_over<T>(ctx, in_state, out_state);
  carry_over<T>(ctx, in_accum, out_accum);
  carry_over<T>(ctx, static_cast<const Tensor&>(scale), out_scale);
}

// The two of the name `deprecated` are what the operator of older programs, and paddle.nn.quant in eager mode, runs.
ADAPTER_KERNEL("quantize_linear", quantize_linear, none, float, float16, bfloat16)
ADAPTER_KERNEL("quantize_linear_deprecated_train", quantize_linear_train, none, float, float16, bfloat16)
ADAPTER_KERNEL("quantize_linear_deprecated_infer", quantize_linear_infer, none, float, float16, bfloat16)

}  // namespace adapter::kernels
