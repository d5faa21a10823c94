#include <cmath>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// A tensor as `count` rows of `width` elements; everything from `begin_axis` on is normalised together.
struct NormRows {
  int64_t count, width;
  NormRows(const Shape& shape, int32_t begin_axis) {
    const int axis = shape.axis(begin_axis);
    count = shape.product(0, axis);
    width = shape.product(axis, shape.rank);
  }
};

template <typename T>
const T* optional_in(const OptionalTensor& tensor) {
  return tensor ? host::in<T>(tensor) : nullptr;
}

template <typename T>
void layer_norm(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& bias, float epsilon,
                int32_t begin_norm_axis, Output& out, Output& mean, Output& variance) {
  const NormRows rows(x.shape, begin_norm_axis);
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  using C = Compute<T>;  // the dtype of the statistics
  C* means = mean ? host::out<C>(ctx, mean) : nullptr;
  C* variances = variance ? host::out<C>(ctx, variance) : nullptr;
  const T* a = host::in<T>(x);
  const T* w = optional_in<T>(scale);
  const T* b = optional_in<T>(bias);
  host::launch(ctx, [=] {
    for (int64_t i = 0; i < rows.count; ++i) {
      const T* in = a + i * rows.width;
      T* row = r + i * rows.width;
      double total = 0, squares = 0;
      for (int64_t j = 0; j < rows.width; ++j) total += static_cast<double>(in[j]);
      const double m = total / static_cast<double>(rows.width);
      for (int64_t j = 0; j < rows.width; ++j) squares += (in[j] - m) * (in[j] - m);
      const double v = squares / static_cast<double>(rows.width), factor = 1 / std::sqrt(v + epsilon);
      if (means) means[i] = static_cast<C>(m);
      if (variances) variances[i] = static_cast<C>(v);
      for (int64_t j = 0; j < rows.width; ++j)
        row[j] = static_cast<T>((in[j] - m) * factor * (w ? w[j] : T(1)) + (b ? b[j] : T(0)));
    }
  });
}

// With y = (x - mean) * factor and h = out_grad * scale:
// x_grad = factor * (h - mean of h - y * mean of h * y), scale_grad = sum of out_grad * y, bias_grad = sum of out_grad.
template <typename T>
void layer_norm_grad(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& /*bias*/,
                     const Tensor& mean, const Tensor& variance, const Tensor& out_grad, float epsilon,
                     int32_t begin_norm_axis, Output& x_grad, Output& scale_grad, Output& bias_grad) {
  const NormRows rows(x.shape, begin_norm_axis);
  if (x_grad) ctx.resize(x_grad, x.shape);
  T* dx = x_grad ? host::out<T>(ctx, x_grad) : nullptr;
  T* dw = scale_grad ? host::out<T>(ctx, scale_grad) : nullptr;
  T* db = bias_grad ? host::out<T>(ctx, bias_grad) : nullptr;
  const T* a = host::in<T>(x);
  const T* w = optional_in<T>(scale);
  const auto* means = host::in<Compute<T>>(mean);
  const auto* variances = host::in<Compute<T>>(variance);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=] {
    const int64_t n = rows.width;
    std::vector<double> scale_sum(static_cast<size_t>(n)), bias_sum(static_cast<size_t>(n));
    for (int64_t i = 0; i < rows.count; ++i) {
      const T* in = a + i * n;
      const T* own = g + i * n;
      const double m = means[i], factor = 1 / std::sqrt(static_cast<double>(variances[i]) + epsilon);
      double sum = 0, dot = 0;
      for (int64_t j = 0; j < n; ++j) {
        const double y = (in[j] - m) * factor, h = own[j] * static_cast<double>(w ? w[j] : T(1));
        sum += h;
        dot += h * y;
        scale_sum[static_cast<size_t>(j)] += own[j] * y;
        bias_sum[static_cast<size_t>(j)] += static_cast<double>(own[j]);
      }
      const double mean_h = sum / static_cast<double>(n), mean_hy = dot / static_cast<double>(n);
      for (int64_t j = 0; dx && j < n; ++j) {
        const double y = (in[j] - m) * factor, h = own[j] * static_cast<double>(w ? w[j] : T(1));
        dx[i * n + j] = static_cast<T>(factor * (h - mean_h - y * mean_hy));
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      if (dw) dw[j] = static_cast<T>(scale_sum[static_cast<size_t>(j)]);
      if (db) db[j] = static_cast<T>(bias_sum[static_cast<size_t>(j)]);
    }
  });
}

ADAPTER_KERNEL("layer_norm", layer_norm, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("layer_norm_grad", layer_norm_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
