#include <cmath>
#include <string>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// Images of `channels` planes of `places` elements; neighbouring channels are normalised together, `share` at a time.
struct ChannelGroups {
  int64_t batch, channels, groups, share, places;
  bool channels_last;

  ChannelGroups(const Shape& shape, int32_t group_count, const std::string& layout)
      : groups(group_count), channels_last(layout == "NHWC") {
    if (shape.rank < 2) throw InvalidArgument("group_norm of a tensor of shape " + to_string(shape));
    const int axis = channels_last ? shape.rank - 1 : 1;
    batch = shape[0], channels = shape[axis];
    if (groups < 1 || channels % groups != 0)
      throw InvalidArgument("group_norm: " + std::to_string(channels) + " channels do not part into " +
                            std::to_string(groups) + " groups");
    share = channels / groups;
    places = shape.product(1, shape.rank) / (channels > 0 ? channels : 1);
  }
  double group_size() const { return static_cast<double>(share * places); }

  // Calls step(offset, channel) for each element of a group of an image.
  template <typename Step>
  void each(int64_t image, int64_t group, Step&& step) const {
    const int64_t base = image * channels * places;
    for (int64_t c = group * share; c < (group + 1) * share; ++c)
      for (int64_t p = 0; p < places; ++p) step(base + (channels_last ? p * channels + c : c * places + p), c);
  }
};

template <typename T>
const T* elements_if_any(const OptionalTensor& tensor) {
  return tensor ? host::in<T>(tensor) : nullptr;
}

template <typename T>
void normalise_groups(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& bias,
                      double epsilon, const ChannelGroups& plan, Output& out, Output& mean, Output& variance) {
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  T* means = mean ? host::out<T>(ctx, mean) : nullptr;
  T* variances = variance ? host::out<T>(ctx, variance) : nullptr;
  const T *a = host::in<T>(x), *w = elements_if_any<T>(scale), *b = elements_if_any<T>(bias);
  host::launch(ctx, [=] {
    for (int64_t i = 0; i < plan.batch * plan.groups; ++i) {
      const int64_t image = i / plan.groups, group = i % plan.groups;
      double total = 0, squares = 0;
      plan.each(image, group, [&](int64_t k, int64_t) { total += static_cast<double>(a[k]); });
      const double m = total / plan.group_size();
      plan.each(image, group, [&](int64_t k, int64_t) { squares += (a[k] - m) * (a[k] - m); });
      const double v = squares / plan.group_size(), factor = 1 / std::sqrt(v + epsilon);
      if (means) means[i] = static_cast<T>(m);
      if (variances) variances[i] = static_cast<T>(v);
      plan.each(image, group, [&](int64_t k, int64_t c) {
        r[k] = static_cast<T>((a[k] - m) * factor * (w ? w[c] : T(1)) + (b ? b[c] : T(0)));
      });
    }
  });
}

// With y = (x - mean) * factor and h = out_grad * scale:
// x_grad = factor * (h - mean of h - y * mean of h * y), scale_grad = sum of out_grad * y, bias_grad = sum of out_grad.
template <typename T>
void normalise_groups_grad(Context& ctx, const Tensor& x, const OptionalTensor& scale, const Tensor& mean,
                           const Tensor& variance, const Tensor& out_grad, double epsilon, const ChannelGroups& plan,
                           Output& x_grad, Output& scale_grad, Output& bias_grad) {
  if (x_grad) ctx.resize(x_grad, x.shape);
  T* dx = x_grad ? host::out<T>(ctx, x_grad) : nullptr;  // may be the storage of out_grad
  T* dw = scale_grad ? host::out<T>(ctx, scale_grad) : nullptr;
  T* db = bias_grad ? host::out<T>(ctx, bias_grad) : nullptr;
  const T *a = host::in<T>(x), *w = elements_if_any<T>(scale), *g = host::in<T>(out_grad);
  const T *means = host::in<T>(mean), *variances = host::in<T>(variance);
  host::launch(ctx, [=] {
    std::vector<double> scale_sum(static_cast<size_t>(plan.channels)), bias_sum(static_cast<size_t>(plan.channels));
    for (int64_t i = 0; i < plan.batch * plan.groups; ++i) {
      const int64_t image = i / plan.groups, group = i % plan.groups;
      const double m = means[i], factor = 1 / std::sqrt(static_cast<double>(variances[i]) + epsilon);
      double sum = 0, dot = 0;
      plan.each(image, group, [&](int64_t k, int64_t c) {
        const double y = (a[k] - m) * factor, own = g[k], h = own * static_cast<double>(w ? w[c] : T(1));
        sum += h;
        dot += h * y;
        scale_sum[static_cast<size_t>(c)] += own * y;
        bias_sum[static_cast<size_t>(c)] += own;
      });
      const double mean_h = sum / plan.group_size(), mean_hy = dot / plan.group_size();
      if (dx == nullptr) continue;
      plan.each(image, group, [&](int64_t k, int64_t c) {
        const double y = (a[k] - m) * factor, h = g[k] * static_cast<double>(w ? w[c] : T(1));
        dx[k] = static_cast<T>(factor * (h - mean_h - y * mean_hy));
      });
    }
    for (int64_t c = 0; c < plan.channels; ++c) {
      if (dw) dw[c] = static_cast<T>(scale_sum[static_cast<size_t>(c)]);
      if (db) db[c] = static_cast<T>(bias_sum[static_cast<size_t>(c)]);
    }
  });
}

template <typename T>
void group_norm(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& bias, double epsilon,
                int32_t groups, const std::string& layout, Output& out, Output& mean, Output& variance) {
  const ChannelGroups plan(x.shape, groups, layout);
  normalise_groups<T>(ctx, x, scale, bias, epsilon, plan, out, mean, variance);
}

template <typename T>
void group_norm_grad(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& /*bias*/,
                     const Tensor& /*out*/, const Tensor& mean, const Tensor& variance, const Tensor& out_grad,
                     double epsilon, int32_t groups, const std::string& layout, Output& x_grad, Output& scale_grad,
                     Output& bias_grad) {
  const ChannelGroups plan(x.shape, groups, layout);
  normalise_groups_grad<T>(ctx, x, scale, mean, variance, out_grad, epsilon, plan, x_grad, scale_grad, bias_grad);
}

// Paddle before 3.3.1 passes epsilon as a float.
template <typename T>
void group_norm_float(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& bias,
                      float epsilon, int32_t groups, const std::string& layout, Output& out, Output& mean,
                      Output& variance) {
  group_norm<T>(ctx, x, scale, bias, epsilon, groups, layout, out, mean, variance);
}

template <typename T>
void group_norm_float_grad(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& bias,
                           const Tensor& out, const Tensor& mean, const Tensor& variance, const Tensor& out_grad,
                           float epsilon, int32_t groups, const std::string& layout, Output& x_grad, Output& scale_grad,
                           Output& bias_grad) {
  group_norm_grad<T>(ctx, x, scale, bias, out, mean, variance, out_grad, epsilon, groups, layout, x_grad, scale_grad,
                     bias_grad);
}

ADAPTER_KERNEL("group_norm", group_norm, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("group_norm_grad", group_norm_grad, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("group_norm", group_norm_float, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("group_norm_grad", group_norm_float_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
