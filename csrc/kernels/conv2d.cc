// conv2d, and depthwise_conv2d, which is the same with its arguments in another order.
#include <string>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "convolution.h"
#include "gemm.h"

namespace adapter::kernels {

// The planes of an image in the order [channel][place], from `image` itself or, where channels come last, by a copy.
template <typename T>
const T* planes_of(bool channels_last, const T* image, int64_t channels, int64_t places, std::vector<T>& copy) {
  if (!channels_last) return image;
  copy.resize(static_cast<size_t>(channels * places));
  flip_matrix(image, places, channels, copy.data());
  return copy.data();
}

template <typename T>
void convolve(const Convolution& c, const T* images, const T* filter, T* out) {
  std::vector<T> patches(static_cast<size_t>(c.taps() * c.places())), planes, own;
  if (c.channels_last) own.resize(static_cast<size_t>(c.filters * c.places()));
  for (int64_t n = 0; n < c.batch; ++n) {
    const T* image = planes_of(c.channels_last, images + n * c.channels * c.pixels(), c.channels, c.pixels(), planes);
    T* result = out + n * c.filters * c.places();
    T* target = c.channels_last ? own.data() : result;
    for (int64_t g = 0; g < c.groups; ++g) {
      gather_patches(c, image + g * c.group_channels() * c.pixels(), patches.data());
      gemm<T>(false, false, c.group_filters(), c.places(), c.taps(), filter + g * c.group_filters() * c.taps(),
              patches.data(), T(0), target + g * c.group_filters() * c.places());
    }
    if (c.channels_last) flip_matrix(target, c.filters, c.places(), result);
  }
}

template <typename T>
void convolve_grad_x(const Convolution& c, const T* filter, const T* out_grad, T* dx) {
  const int64_t size = c.channels * c.pixels();
  std::vector<T> patches(static_cast<size_t>(c.taps() * c.places())), planes, own;
  if (c.channels_last) own.resize(static_cast<size_t>(size));
  for (int64_t n = 0; n < c.batch; ++n) {
    const T* g = planes_of(c.channels_last, out_grad + n * c.filters * c.places(), c.filters, c.places(), planes);
    T* target = c.channels_last ? own.data() : dx + n * size;
    std::fill(target, target + size, T(0));
    for (int64_t k = 0; k < c.groups; ++k) {
      gemm<T>(true, false, c.taps(), c.places(), c.group_filters(), filter + k * c.group_filters() * c.taps(),
              g + k * c.group_filters() * c.places(), T(0), patches.data());
      add_patches(c, patches.data(), target + k * c.group_channels() * c.pixels());
    }
    if (c.channels_last) flip_matrix(target, c.channels, c.pixels(), dx + n * size);
  }
}

template <typename T>
void convolve_grad_filter(const Convolution& c, const T* images, const T* out_grad, T* dw) {
  std::vector<T> patches(static_cast<size_t>(c.taps() * c.places())), planes, grads;
  std::fill(dw, dw + c.filters * c.taps(), T(0));
  for (int64_t n = 0; n < c.batch; ++n) {
    const T* image = planes_of(c.channels_last, images + n * c.channels * c.pixels(), c.channels, c.pixels(), planes);
    const T* g = planes_of(c.channels_last, out_grad + n * c.filters * c.places(), c.filters, c.places(), grads);
    for (int64_t k = 0; k < c.groups; ++k) {
      gather_patches(c, image + k * c.group_channels() * c.pixels(), patches.data());
      gemm<T>(false, true, c.group_filters(), c.taps(), c.places(), g + k * c.group_filters() * c.places(),
              patches.data(), T(1), dw + k * c.group_filters() * c.taps());
    }
  }
}

template <typename T>
void conv2d(Context& ctx, const Tensor& x, const Tensor& filter, const std::vector<int32_t>& strides,
            const std::vector<int32_t>& paddings, const std::string& padding, const std::vector<int32_t>& dilations,
            int32_t groups, const std::string& format, Output& out) {
  const Convolution plan(x.shape, filter.shape, strides, paddings, padding, dilations, groups, format);
  ctx.resize(out, plan.out_shape());
  T* r = host::out<T>(ctx, out);
  const T *a = host::in<T>(x), *w = host::in<T>(filter);
  host::launch(ctx, [=] { convolve(plan, a, w, r); });
}

template <typename T>
void conv2d_grad(Context& ctx, const Tensor& x, const Tensor& filter, const Tensor& out_grad,
                 const std::vector<int32_t>& strides, const std::vector<int32_t>& paddings, const std::string& padding,
                 const std::vector<int32_t>& dilations, int32_t groups, const std::string& format, Output& x_grad,
                 Output& filter_grad) {
  const Convolution plan(x.shape, filter.shape, strides, paddings, padding, dilations, groups, format);
  const T *a = host::in<T>(x), *w = host::in<T>(filter), *g = host::in<T>(out_grad);
  if (filter_grad) {
    ctx.resize(filter_grad, filter.shape);
    T* dw = host::out<T>(ctx, filter_grad);
    host::launch(ctx, [=] { convolve_grad_filter(plan, a, g, dw); });
  }
  if (x_grad) {
    ctx.resize(x_grad, x.shape);
    T* dx = host::out<T>(ctx, x_grad);
    host::launch(ctx, [=] { convolve_grad_x(plan, w, g, dx); });
  }
}

template <typename T>
void depthwise_conv2d(Context& ctx, const Tensor& x, const Tensor& filter, const std::vector<int32_t>& strides,
                      const std::vector<int32_t>& paddings, const std::string& padding, int32_t groups,
                      const std::vector<int32_t>& dilations, const std::string& format, Output& out) {
  conv2d<T>(ctx, x, filter, strides, paddings, padding, dilations, groups, format, out);
}

template <typename T>
void depthwise_conv2d_grad(Context& ctx, const Tensor& x, const Tensor& filter, const Tensor& out_grad,
                           const std::vector<int32_t>& strides, const std::vector<int32_t>& paddings,
                           const std::string& padding, int32_t groups, const std::vector<int32_t>& dilations,
                           const std::string& format, Output& x_grad, Output& filter_grad) {
  conv2d_grad<T>(ctx, x, filter, out_grad, strides, paddings, padding, dilations, groups, format, x_grad, filter_grad);
}

ADAPTER_KERNEL("conv2d", conv2d, same, float, double, float16, bfloat16)
ADAPTER_KERNEL("conv2d_grad", conv2d_grad, same, float, double, float16, bfloat16)
ADAPTER_KERNEL("depthwise_conv2d", depthwise_conv2d, same, float, double, float16, bfloat16)
ADAPTER_KERNEL("depthwise_conv2d_grad", depthwise_conv2d_grad, same, float, double, float16, bfloat16)

}  // namespace adapter::kernels
