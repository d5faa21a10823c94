// Operators of quantization-aware training and of observers: x as integers of its own dtype, or as the numbers that
// those stand for (`..._dequantize_...`). Their gradient is that of the identity, since rounding has none.
#include "fake_quantize.h"

#include <vector>

#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T, GridResult result>
void launch_abs_max(Context& ctx, const Tensor& x, int32_t bits, int32_t round_type, int32_t quant_axis, Output& out,
                    Output& out_scale) {
  launch_measured<result, T>(ctx, x, Grid::of_bits(bits, round_type), quant_axis, false, out, out_scale);
}

template <typename T>
void fake_quantize_abs_max(Context& ctx, const Tensor& x, int32_t bit_length, int32_t round_type, Output& out,
                           Output& out_scale) {
  launch_abs_max<T, GridResult::integers>(ctx, x, bit_length, round_type, -1, out, out_scale);
}

template <typename T>
void fake_quantize_dequantize_abs_max(Context& ctx, const Tensor& x, int32_t bit_length, int32_t round_type,
                                      Output& out, Output& out_scale) {
  launch_abs_max<T, GridResult::numbers>(ctx, x, bit_length, round_type, -1, out, out_scale);
}

// Paddle passes no scale in, so that it is measured in evaluation as well.
template <typename T>
void fake_channel_wise_quantize_abs_max(Context& ctx, const Tensor& x, int32_t bit_length, int32_t round_type,
                                        int32_t quant_axis, bool /*is_test*/, Output& out, Output& out_scale) {
  launch_abs_max<T, GridResult::integers>(ctx, x, bit_length, round_type, quant_axis, out, out_scale);
}

template <typename T>
void fake_channel_wise_quantize_dequantize_abs_max(Context& ctx, const Tensor& x, int32_t bit_length,
                                                   int32_t round_type, int32_t quant_axis, Output& out,
                                                   Output& out_scale) {
  launch_abs_max<T, GridResult::numbers>(ctx, x, bit_length, round_type, quant_axis, out, out_scale);
}

template <typename T, GridResult result>
void launch_average_abs_max(Context& ctx, const Tensor& x, const Tensor& in_scale, const OptionalTensor& in_accum,
                            const OptionalTensor& in_state, float moving_rate, const Grid& grid, bool is_test,
                            Output& out, Output& out_scale, Output& out_state, Output& out_accum) {
  if (!is_test) {
    const MovingAverage<T> average(ctx, in_accum, in_state, moving_rate, out_scale, out_state, out_accum);
    return launch_moving_average<result>(ctx, x, grid, average, false, out);
  }
  launch_given<result, T>(ctx, x, in_scale, grid, -1, false, out);
  carry_over<T>(ctx, in_scale, out_scale);
  carry_over<T>(ctx, in_state, out_state);
  carry_over<T>(ctx, in_accum, out_accum);
}

template <typename T>
void fake_quantize_moving_average_abs_max(Context& ctx, const Tensor& x, const Tensor& in_scale,
                                          const OptionalTensor& in_accum, const OptionalTensor& in_state,
                                          float moving_rate, int32_t bit_length, bool is_test, int32_t round_type,
                                          Output& out, Output& out_scale, Output& out_state, Output& out_accum) {
  launch_average_abs_max<T, GridResult::integers>(ctx, x, in_scale, in_accum, in_state, moving_rate,
                                                  Grid::of_bits(bit_length, round_type), is_test, out, out_scale,
                                                  out_state, out_accum);
}

template <typename T>
void fake_quantize_dequantize_moving_average_abs_max(Context& ctx, const Tensor& x, const Tensor& in_scale,
                                                     const OptionalTensor& in_accum, const OptionalTensor& in_state,
                                                     float moving_rate, int32_t bit_length, bool is_test,
                                                     int32_t round_type, Output& out, Output& out_scale,
                                                     Output& out_state, Output& out_accum) {
  launch_average_abs_max<T, GridResult::numbers>(ctx, x, in_scale, in_accum, in_state, moving_rate,
                                                 Grid::of_bits(bit_length, round_type), is_test, out, out_scale,
                                                 out_state, out_accum);
}

// An observer: x unchanged, its scale remembered.
template <typename T>
void moving_average_abs_max_scale(Context& ctx, const Tensor& x, const OptionalTensor& in_accum,
                                  const OptionalTensor& in_state, float moving_rate, bool is_test, Output& out,
                                  Output& out_scale, Output& out_state, Output& out_accum) {
  if (!is_test) {
    const MovingAverage<T> average(ctx, in_accum, in_state, moving_rate, out_scale, out_state, out_accum);
    return launch_moving_average<GridResult::numbers>(ctx, x, Grid::of_bits(8, 0), average, true, out);
  }
  if (out) {
    ctx.resize(out, x.shape);
    T* r = host::out<T>(ctx, out);
    const T* a = host::in<T>(x);
    host::launch(ctx, [=, n = x.numel()] { copy_all(r, a, n); });
  }
  carry_over<T>(ctx, OptionalTensor(), out_scale);
  carry_over<T>(ctx, in_state, out_state);
  carry_over<T>(ctx, in_accum, out_accum);
}

template <typename T>
void pass_gradient(Context& ctx, const Tensor& out_grad, Output& x_grad) {
  if (!x_grad) return;
  ctx.resize(x_grad, out_grad.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=, n = out_grad.numel()] { copy_all(r, g, n); });
}

template <typename T>
void fake_quantize_dequantize_abs_max_grad(Context& ctx, const Tensor& out_grad, int32_t, int32_t, Output& x_grad) {
  pass_gradient<T>(ctx, out_grad, x_grad);
}

template <typename T>
void fake_channel_wise_quantize_dequantize_abs_max_grad(Context& ctx, const Tensor& out_grad, int32_t, int32_t, int32_t,
                                                        Output& x_grad) {
  pass_gradient<T>(ctx, out_grad, x_grad);
}

template <typename T>
void fake_quantize_dequantize_moving_average_abs_max_grad(Context& ctx, const Tensor& out_grad, float, int32_t, bool,
                                                          int32_t, Output& x_grad) {
  pass_gradient<T>(ctx, out_grad, x_grad);
}

// x * scale / max_range
template <typename T>
void fake_dequantize_max_abs(Context& ctx, const Tensor& x, const Tensor& scale, float max_range, Output& out) {
  using C = Compute<T>;
  Channels(x.shape, -1).require_scales(scale);
  const Numbers numbers(scale, "a scale");
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, all = Channels(x.shape, -1)] {
    const C factor = numbers.at<C>(0);
    map_channels(all, a, r, [=](int64_t, C v) { return v * factor / static_cast<C>(max_range); });
  });
}

ADAPTER_KERNEL("fake_quantize_abs_max", fake_quantize_abs_max, none, float, float16, bfloat16)
ADAPTER_KERNEL("fake_quantize_dequantize_abs_max", fake_quantize_dequantize_abs_max, none, float, float16, bfloat16)
ADAPTER_KERNEL("fake_quantize_dequantize_abs_max_grad", fake_quantize_dequantize_abs_max_grad, none, float, float16,
               bfloat16)
ADAPTER_KERNEL("fake_channel_wise_quantize_abs_max", fake_channel_wise_quantize_abs_max, none, float, float16, bfloat16)
ADAPTER_KERNEL("fake_channel_wise_quantize_dequantize_abs_max", fake_channel_wise_quantize_dequantize_abs_max, none,
               float, float16, bfloat16)
ADAPTER_KERNEL("fake_channel_wise_quantize_dequantize_abs_max_grad", fake_channel_wise_quantize_dequantize_abs_max_grad,
               none, float, float16, bfloat16)
ADAPTER_KERNEL("fake_quantize_moving_average_abs_max", fake_quantize_moving_average_abs_max, none, float, float16,
               bfloat16)
ADAPTER_KERNEL("fake_quantize_dequantize_moving_average_abs_max", fake_quantize_dequantize_moving_average_abs_max, none,
               float, float16, bfloat16)
ADAPTER_KERNEL("fake_quantize_dequantize_moving_average_abs_max_grad",
               fake_quantize_dequantize_moving_average_abs_max_grad, none, float, float16, bfloat16)
ADAPTER_KERNEL("moving_average_abs_max_scale", moving_average_abs_max_scale, none, float, float16, bfloat16)
ADAPTER_KERNEL("fake_dequantize_max_abs", fake_dequantize_max_abs, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
