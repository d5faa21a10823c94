#include <algorithm>
#include <cmath>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "axis_slices.h"

namespace adapter::kernels {

template <typename T>
T slice_max(const T* x, int64_t length, int64_t step) {
  T peak = x[0];
  for (int64_t j = 1; j < length; ++j) peak = std::max(peak, x[j * step]);
  return peak;
}

template <typename T>
void softmax(Context& ctx, const Tensor& x, int32_t axis, Output& out) {
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, slices = AxisSlices(x.shape, axis)] {
    slices.each([&](int64_t, int64_t offset) {
      const int64_t n = slices.length, step = slices.inner;
      const T peak = slice_max(a + offset, n, step);
      std::vector<Compute<T>> power(static_cast<size_t>(n));
      double total = 0;
      for (int64_t j = 0; j < n; ++j) {
        power[static_cast<size_t>(j)] = std::exp(a[offset + j * step] - peak);
        total += static_cast<double>(power[static_cast<size_t>(j)]);
      }
      for (int64_t j = 0; j < n; ++j) r[offset + j * step] = static_cast<T>(power[static_cast<size_t>(j)] / total);
    });
  });
}

// x_grad = out * (out_grad - sum(out * out_grad))
template <typename T>
void softmax_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, int32_t axis, Output& x_grad) {
  ctx.resize(x_grad, out.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* y = host::in<T>(out);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=, slices = AxisSlices(out.shape, axis)] {
    slices.each([&](int64_t, int64_t offset) {
      const int64_t end = offset + slices.length * slices.inner, step = slices.inner;
      double dot = 0;
      for (int64_t k = offset; k < end; k += step) dot += static_cast<double>(y[k]) * static_cast<double>(g[k]);
      for (int64_t k = offset; k < end; k += step) r[k] = static_cast<T>(y[k] * (g[k] - dot));
    });
  });
}

template <typename T>
void log_softmax(Context& ctx, const Tensor& x, int32_t axis, Output& out) {
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, slices = AxisSlices(x.shape, axis)] {
    slices.each([&](int64_t, int64_t offset) {
      const int64_t end = offset + slices.length * slices.inner, step = slices.inner;
      const T peak = slice_max(a + offset, slices.length, step);
      double total = 0;
      for (int64_t k = offset; k < end; k += step) total += static_cast<double>(std::exp(a[k] - peak));
      const double log_total = std::log(total);
      for (int64_t k = offset; k < end; k += step) r[k] = static_cast<T>((a[k] - peak) - log_total);
    });
  });
}

// x_grad = out_grad - exp(out) * sum(out_grad)
template <typename T>
void log_softmax_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, int32_t axis, Output& x_grad) {
  ctx.resize(x_grad, out.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* y = host::in<T>(out);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=, slices = AxisSlices(out.shape, axis)] {
    slices.each([&](int64_t, int64_t offset) {
      const int64_t end = offset + slices.length * slices.inner, step = slices.inner;
      double total = 0;
      for (int64_t k = offset; k < end; k += step) total += static_cast<double>(g[k]);
      for (int64_t k = offset; k < end; k += step) r[k] = static_cast<T>(g[k] - std::exp(y[k]) * total);
    });
  });
}

ADAPTER_KERNEL("softmax", softmax, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("softmax_grad", softmax_grad, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("log_softmax", log_softmax, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("log_softmax_grad", log_softmax_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
