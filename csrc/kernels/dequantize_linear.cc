// Numbers that integers stand for: x * scale / qmax, in the dtype of the scale. The zero point is always 0, as in
// quantize_linear.
#include <vector>

#include "adapter_sdk/kernel.h"
#include "fake_quantize.h"

namespace adapter::kernels {

// In computes in its own type if that is floating; integers become numbers of the result's type.
template <typename In, typename Out>
void dequantize_channels_linear(const Channels& channels, const Numbers& numbers, int32_t qmax, const In* x, Out* r) {
  using C = Compute<Out>;
  const std::vector<C> scales = scales_in<C>(numbers, channels.count);
  map_channels(channels, x, r, [&](int64_t c, Compute<In> v) {
    return static_cast<C>(v) * scales[static_cast<size_t>(c)] / static_cast<C>(qmax);
  });
}

template <typename T>
void launch_dequantize_linear(Context& ctx, const Tensor& x, const Tensor& scale, int32_t quant_axis, int32_t qmax,
                              bool only_observer, Output& out) {
  const T* a = host::in<T>(x);
  ctx.resize(out, x.shape);
  if (only_observer) {
    T* r = host::out<T>(ctx, out);
    return host::launch(ctx, [=, n = x.numel()] { copy_all(r, a, n); });
  }
  const Channels channels(x.shape, quant_axis);
  channels.require_scales(scale);
  const Numbers numbers(scale, "a scale");
  visit_dtype<float, double, float16, bfloat16>(scale.dtype, "a scale", [&](auto tag) {
    using Out = typename decltype(tag)::type;
    Out* r = host::out<Out>(ctx, out);
    host::launch(ctx, [=] { dequantize_channels_linear(channels, numbers, qmax, a, r); });
  });
}

template <typename T>
void dequantize_linear(Context& ctx, const Tensor& x, const OptionalTensor& scale, const Tensor& /*zero_point*/,
                       const OptionalTensor& in_accum, const OptionalTensor& in_state, int32_t quant_axis,
                       int32_t /*bit_length*/, int32_t /*qmin*/, int32_t qmax, int32_t /*round_type*/, bool /*is_test*/,
                       bool only_observer, Output& out, Output& out_state, Output& out_accum, Output& out_scale) {
  if (!scale) throw InvalidArgument("dequantize_linear needs a scale");
  launch_dequantize_linear<T>(ctx, x, scale, quant_axis, qmax, only_observer, out);
  carry_over<float>(ctx, in_state, out_state);
  carry_over<float>(ctx, in_accum, out_accum);
  visit_dtype<float, double, float16, bfloat16>(scale.dtype, "a scale", [&](auto tag) {
    carry_over<typename decltype(tag)::type>(ctx, static_cast<const Tensor&>(scale), out_scale);
  });
}

template <typename T>
void dequantize_linear_deprecated(Context& ctx, const Tensor& x, const Tensor& scale, const Tensor& /*zero_point*/,
                                  int32_t quant_axis, int32_t /*bit_length*/, int32_t /*qmin*/, int32_t qmax,
                                  int32_t /*round_type*/, bool only_observer, Output& out) {
  launch_dequantize_linear<T>(ctx, x, scale, quant_axis, qmax, only_observer, out);
}

ADAPTER_KERNEL("dequantize_linear", dequantize_linear, none, int8_t, float, double, float16, bfloat16)
ADAPTER_KERNEL("dequantize_linear_deprecated", dequantize_linear_deprecated, none, int8_t, float, double, float16,
               bfloat16)

}  // namespace adapter::kernels
