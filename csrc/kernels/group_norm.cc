#include <cmath>
#include <string>
#include <vector>

#include "adapter_sdk/kernel.h"
#include "norm_rows.h"

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

  // Calls run(offset, n, channel, step) for the stretches of a group that lie side by side: element j belongs to
  // channel `channel + j * step`.
  template <typename Run>
  void runs(int64_t item, Run&& run) const {
    const int64_t base = item / groups * channels * places, first = item % groups * share;
    if (channels_last) {
      for (int64_t p = 0; p < places; ++p) run(base + p * channels + first, share, first, int64_t{1});
    } else {
      for (int64_t c = first; c < first + share; ++c) run(base + c * places, places, c, int64_t{0});
    }
  }
  int64_t items() const { return batch * groups; }

  // Sum of term(offset) over a group, in an order that follows from the shape.
  template <typename Sum, typename Term>
  Sum sum(int64_t item, Term term) const {
    host::Lanes<host::SumFold<Sum>> lanes{host::SumFold<Sum>{}};
    runs(item, [&](int64_t offset, int64_t n, int64_t, int64_t) {
      lanes.add(n, [&](int64_t j) { return term(offset + j); });
    });
    return lanes.result();
  }
};

// Statistics are float32 for half types, parameters of any floating dtype.
template <typename T>
void normalise_groups(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& bias,
                      double epsilon, const ChannelGroups& plan, Output& out, Output& mean, Output& variance) {
  using C = Compute<T>;
  using Sum = Accumulator<T>;
  const ColumnParameter scales(scale, plan.channels, "scale"), biases(bias, plan.channels, "bias");
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  C* means = mean ? host::out<C>(ctx, mean) : nullptr;
  C* variances = variance ? host::out<C>(ctx, variance) : nullptr;
  const T* a = host::in<T>(x);
  host::launch(ctx, [=] {
    const auto w = scales.values<Sum>(plan.channels, Sum(1)), b = biases.values<Sum>(plan.channels, Sum(0));
    const Sum *ws = w.data(), *bs = b.data();
    host::parallel_for(plan.items(), host::rows_grain(plan.share * plan.places), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Sum size = static_cast<Sum>(plan.group_size());
        const Sum m = plan.sum<Sum>(i, [=](int64_t k) { return static_cast<Sum>(static_cast<C>(a[k])); }) / size;
        const Sum v = plan.sum<Sum>(i, [=](int64_t k) {
          const Sum apart = static_cast<Sum>(static_cast<C>(a[k])) - m;
          return apart * apart;
        }) / size;
        const Sum factor = 1 / std::sqrt(v + static_cast<Sum>(epsilon));
        if (means) means[i] = static_cast<C>(m);
        if (variances) variances[i] = static_cast<C>(v);
        plan.runs(i, [=](int64_t offset, int64_t n, int64_t c, int64_t step) {
          ADAPTER_INDEPENDENT
          for (int64_t j = 0; j < n; ++j) {
            const Sum y = (static_cast<Sum>(static_cast<C>(a[offset + j])) - m) * factor;
            r[offset + j] = static_cast<T>(static_cast<C>(y * ws[c + j * step] + bs[c + j * step]));
          }
        });
      }
    });
  });
}

// One group's share of the gradients: dx, and the sums of its channels.
template <typename T>
void group_gradient(const ChannelGroups& plan, int64_t item, const T* x, const T* g, T* dx, const Accumulator<T>* w,
                    Accumulator<T> mean, Accumulator<T> factor, Accumulator<T>* scale_sums, Accumulator<T>* bias_sums) {
  using C = Compute<T>;
  using Sum = Accumulator<T>;
  const auto value = [](T element) { return static_cast<Sum>(static_cast<C>(element)); };
  Sum sum = 0, dot = 0;
  plan.runs(item, [&](int64_t offset, int64_t n, int64_t c, int64_t step) {
    if (step == 1) {
      for (int64_t j = 0; j < n; ++j) {
        const Sum own = value(g[offset + j]), y = (value(x[offset + j]) - mean) * factor;
        scale_sums[c + j] += own * y;
        bias_sums[c + j] += own;
        sum += own * w[c + j];
        dot += own * w[c + j] * y;
      }
      return;
    }
    host::Lanes<host::SumFold<Sum>> products{host::SumFold<Sum>{}}, plain{host::SumFold<Sum>{}};
    products.add(n, [&](int64_t j) { return value(g[offset + j]) * ((value(x[offset + j]) - mean) * factor); });
    plain.add(n, [&](int64_t j) { return value(g[offset + j]); });
    const Sum own_products = products.result(), own_sum = plain.result();
    scale_sums[c] += own_products;
    bias_sums[c] += own_sum;
    sum += own_sum * w[c];
    dot += own_products * w[c];
  });
  if (dx == nullptr) return;
  const Sum size = static_cast<Sum>(plan.group_size()), mean_h = sum / size, mean_hy = dot / size;
  plan.runs(item, [=](int64_t offset, int64_t n, int64_t c, int64_t step) {
    ADAPTER_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) {
      const Sum y = (value(x[offset + j]) - mean) * factor, h = value(g[offset + j]) * w[c + j * step];
      dx[offset + j] = static_cast<T>(static_cast<C>(factor * (h - mean_h - y * mean_hy)));
    }
  });
}

// With y = (x - mean) * factor and h = out_grad * scale:
// x_grad = factor * (h - mean of h - y * mean of h * y), scale_grad = sum of out_grad * y, bias_grad = sum of out_grad.
// Each image has sums of its own for every channel; they are added in the order of the images.
template <typename T>
void normalise_groups_grad(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& bias,
                           const Tensor& mean, const Tensor& variance, const Tensor& out_grad, double epsilon,
                           const ChannelGroups& plan, Output& x_grad, Output& scale_grad, Output& bias_grad) {
  using C = Compute<T>;
  using Sum = Accumulator<T>;
  const ColumnParameter scales(scale, plan.channels, "scale");
  if (x_grad) ctx.resize(x_grad, x.shape);
  T* dx = x_grad ? host::out<T>(ctx, x_grad) : nullptr;  // may be the storage of out_grad
  const Shape channels{plan.channels};
  const ColumnGradient dw(ctx, scale_grad, channels, scale ? scale.dtype : dtype_of<T>);
  const ColumnGradient db(ctx, bias_grad, channels, bias ? bias.dtype : dtype_of<T>);
  const T *a = host::in<T>(x), *g = host::in<T>(out_grad);
  const C *means = host::in<C>(mean), *variances = host::in<C>(variance);
  host::launch(ctx, [=] {
    const auto w = scales.values<Sum>(plan.channels, Sum(1));
    std::vector<Sum> sums(static_cast<size_t>(2 * plan.batch * plan.channels));
    host::parallel_for(plan.items(), host::rows_grain(plan.share * plan.places), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Sum* own = sums.data() + i / plan.groups * 2 * plan.channels;
        group_gradient<T>(plan, i, a, g, dx, w.data(), static_cast<Sum>(means[i]),
                          1 / std::sqrt(static_cast<Sum>(variances[i]) + static_cast<Sum>(epsilon)), own,
                          own + plan.channels);
      }
    });
    for (int64_t c = 0; c < plan.channels; ++c) {
      Sum scale_sum = 0, bias_sum = 0;
      for (int64_t b = 0; b < plan.batch; ++b) {
        scale_sum += sums[static_cast<size_t>(2 * b * plan.channels + c)];
        bias_sum += sums[static_cast<size_t>((2 * b + 1) * plan.channels + c)];
      }
      dw.store(c, scale_sum);
      db.store(c, bias_sum);
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
void group_norm_grad(Context& ctx, const Tensor& x, const OptionalTensor& scale, const OptionalTensor& bias,
                     const Tensor& /*out*/, const Tensor& mean, const Tensor& variance, const Tensor& out_grad,
                     double epsilon, int32_t groups, const std::string& layout, Output& x_grad, Output& scale_grad,
                     Output& bias_grad) {
  const ChannelGroups plan(x.shape, groups, layout);
  normalise_groups_grad<T>(ctx, x, scale, bias, mean, variance, out_grad, epsilon, plan, x_grad, scale_grad, bias_grad);
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
