// conv2d, and depthwise_conv2d, which is the same with its arguments in another order.
#include <algorithm>
#include <string>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "convolution.h"
#include "gemm.h"

namespace adapter::kernels {

// Half types are computed with in float throughout, and rounded where the result is stored.

// The planes of an image in the order [channel][place], from `image` itself or, where channels come last or the type is
// a half, by a copy.
template <typename T>
const Compute<T>* planes_of(bool channels_last, const T* image, int64_t channels, int64_t places,
                            std::vector<Compute<T>>& copy) {
  if constexpr (!is_half<T>) {
    if (!channels_last) return image;
  }
  copy.resize(static_cast<size_t>(channels * places));
  if (channels_last)
    flip_matrix(image, places, channels, copy.data());
  else
    std::copy(image, image + channels * places, copy.begin());
  return copy.data();
}

template <typename T>
void store_planes(bool channels_last, const Compute<T>* planes, int64_t channels, int64_t places, T* image) {
  if (channels_last)
    flip_matrix(planes, channels, places, image);
  else
    std::copy(planes, planes + channels * places, image);
}

template <typename T>
std::vector<Compute<T>> wide_filter(const Convolution& c, const T* filter) {
  return std::vector<Compute<T>>(filter, filter + c.filters * c.taps());
}

template <typename T>
void convolve(const Convolution& c, const T* images, const T* filter, T* out) {
  using C = Compute<T>;
  const std::vector<C> weights = wide_filter(c, filter);
  host::parallel_for(c.batch, 1, [&](int64_t first, int64_t last) {
    std::vector<C> patches(static_cast<size_t>(c.taps() * c.places())), planes;
    std::vector<C> own(static_cast<size_t>(c.filters * c.places()));
    for (int64_t n = first; n < last; ++n) {
      const C* image = planes_of(c.channels_last, images + n * c.channels * c.pixels(), c.channels, c.pixels(), planes);
      for (int64_t g = 0; g < c.groups; ++g) {
        gather_patches(c, image + g * c.group_channels() * c.pixels(), patches.data());
        gemm<C>(false, false, c.group_filters(), c.places(), c.taps(),
                weights.data() + g * c.group_filters() * c.taps(), patches.data(), C(0),
                own.data() + g * c.group_filters() * c.places());
      }
      store_planes(c.channels_last, own.data(), c.filters, c.places(), out + n * c.filters * c.places());
    }
  });
}

template <typename T>
void convolve_grad_x(const Convolution& c, const T* filter, const T* out_grad, T* dx) {
  using C = Compute<T>;
  const std::vector<C> weights = wide_filter(c, filter);
  const int64_t size = c.channels * c.pixels();
  host::parallel_for(c.batch, 1, [&](int64_t first, int64_t last) {
    std::vector<C> patches(static_cast<size_t>(c.taps() * c.places())), planes, own(static_cast<size_t>(size));
    for (int64_t n = first; n < last; ++n) {
      const C* g = planes_of(c.channels_last, out_grad + n * c.filters * c.places(), c.filters, c.places(), planes);
      std::fill(own.begin(), own.end(), C(0));
      for (int64_t k = 0; k < c.groups; ++k) {
        gemm<C>(true, false, c.taps(), c.places(), c.group_filters(), weights.data() + k * c.group_filters() * c.taps(),
                g + k * c.group_filters() * c.places(), C(0), patches.data());
        add_patches(c, patches.data(), own.data() + k * c.group_channels() * c.pixels());
      }
      store_planes(c.channels_last, own.data(), c.channels, c.pixels(), dx + n * size);
    }
  });
}

// Images one after another: their contributions are added in order.
template <typename T>
void convolve_grad_filter(const Convolution& c, const T* images, const T* out_grad, T* dw) {
  using C = Compute<T>;
  std::vector<C> patches(static_cast<size_t>(c.taps() * c.places())), planes, grads;
  std::vector<C> sum(static_cast<size_t>(c.filters * c.taps()));
  for (int64_t n = 0; n < c.batch; ++n) {
    const C* image = planes_of(c.channels_last, images + n * c.channels * c.pixels(), c.channels, c.pixels(), planes);
    const C* g = planes_of(c.channels_last, out_grad + n * c.filters * c.places(), c.filters, c.places(), grads);
    for (int64_t k = 0; k < c.groups; ++k) {
      gather_patches(c, image + k * c.group_channels() * c.pixels(), patches.data());
      gemm<C>(false, true, c.group_filters(), c.taps(), c.places(), g + k * c.group_filters() * c.places(),
              patches.data(), C(1), sum.data() + k * c.group_filters() * c.taps());
    }
  }
  std::copy(sum.begin(), sum.end(), dw);
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
