#include <algorithm>
#include <cmath>
#include <vector>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "axis_slices.h"
#include "dispatch.h"
#include "fast_exp.h"
#include "row_folds.h"

namespace adapter::kernels {

// The class of one slice: -1 if it is to be ignored. Throws DeviceError for a class that does not exist.
template <typename Label>
int64_t checked_class(const Label* labels, int64_t slice, int64_t classes, int64_t ignored) {
  const int64_t label = static_cast<int64_t>(labels[slice]);
  if (label == ignored) return -1;
  if (label < 0 || label >= classes)
    throw DeviceError("cross_entropy_with_softmax: label " + std::to_string(label) + " at position " +
                      std::to_string(slice) + " is neither one of " + std::to_string(classes) +
                      " classes nor ignore_index " + std::to_string(ignored));
  return label;
}

// Paddle keeps log(0) finite where it is given probabilities.
inline double tolerable(double value) { return std::clamp(value, -1e20, 1e20); }

// One slice of logits: peak and logarithm of the sum of exp(x - peak).
struct SliceNorm {
  double peak, log_total;
};

// p = softmax of n logits
template <typename C>
ADAPTER_WIDE_VECTORS SliceNorm normalise(const C* x, C* p, int64_t n) {
  const C peak = row_max(x, n);
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) p[j] = exp_of(x[j] - peak);
  const C* power = p;
  const double total = row_sum<double>(n, [=](int64_t j) { return static_cast<double>(power[j]); });
  const C factor = static_cast<C>(1 / total);
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) p[j] *= factor;
  return {static_cast<double>(peak), std::log(total)};
}

// -log of the probability of an element; `x` is a logit, or with use_softmax off a probability.
struct NegativeLog {
  bool use_softmax;
  SliceNorm norm;
  double operator()(double x) const { return use_softmax ? norm.log_total - (x - norm.peak) : -tolerable(std::log(x)); }
};

// Runs loss(slice, its n elements, negative_log) for every slice, and stores probabilities (`p` may be `x`).
template <typename T, typename Loss>
void for_each_slice(const AxisSlices& slices, bool use_softmax, const T* x, T* p, T* losses, Loss&& loss) {
  using C = Compute<T>;
  const int64_t n = slices.length, step = slices.inner;
  slices.each([=] { return std::vector<C>(static_cast<size_t>(2 * n)); },
              [&](int64_t slice, int64_t offset, std::vector<C>& scratch) {
                C *own = scratch.data(), *probability = own + n;
                host::widen(x + offset, step, own, n);
                const SliceNorm norm = use_softmax ? normalise(own, probability, n) : SliceNorm{};
                losses[slice] = static_cast<T>(loss(slice, own, NegativeLog{use_softmax, norm}));
                host::narrow(use_softmax ? probability : own, p + offset, step, n);
              });
}

template <typename T>
void cross_entropy_with_softmax(Context& ctx, const Tensor& logits, const Tensor& label, bool soft_label,
                                bool use_softmax, bool /*numeric_stable_mode*/, int32_t ignore_index, int32_t axis,
                                Output& softmax, Output& loss) {
  const AxisSlices slices(logits.shape, axis);
  Shape loss_shape = logits.shape;
  if (loss_shape.rank > 0) loss_shape[logits.shape.axis(axis)] = 1;
  ctx.resize(softmax, logits.shape);
  ctx.resize(loss, loss_shape);
  T* p = host::out<T>(ctx, softmax);
  T* losses = host::out<T>(ctx, loss);
  const T* x = host::in<T>(logits);
  if (soft_label) {
    const T* weights = host::in<T>(label);
    host::launch(ctx, [=] {
      for_each_slice(slices, use_softmax, x, p, losses,
                     [&](int64_t slice, const Compute<T>* own, const NegativeLog& negative_log) {
                       const T* weight = weights + slices.offset(slice);
                       double total = 0;
                       for (int64_t j = 0; j < slices.length; ++j, weight += slices.inner)
                         if (*weight != T(0))
                           total += *weight * negative_log(own[j]);  // a class of weight 0 may be impossible
                       return total;
                     });
    });
    return;
  }
  visit_dtype<int32_t, int64_t, int16_t, int8_t, uint8_t>(label.dtype, "a hard label", [&](auto tag) {
    const auto* labels = host::in<typename decltype(tag)::type>(label);
    host::launch(ctx, [=] {
      for_each_slice(slices, use_softmax, x, p, losses,
                     [&](int64_t slice, const Compute<T>* own, const NegativeLog& negative_log) {
                       const int64_t c = checked_class(labels, slice, slices.length, ignore_index);
                       return c < 0 ? 0.0 : negative_log(own[c]);
                     });
    });
  });
}

// With softmax the gradient is (p - label) * g, as Paddle has it: soft labels are taken to add up to 1. Without it the
// loss is -log p itself. The gradient may share the storage of `softmax`.
template <typename T>
void cross_entropy_with_softmax_grad(Context& ctx, const Tensor& label, const Tensor& softmax, const Tensor& loss_grad,
                                     bool soft_label, bool use_softmax, bool /*numeric_stable_mode*/,
                                     int32_t ignore_index, int32_t axis, Output& logits_grad) {
  const AxisSlices slices(softmax.shape, axis);
  ctx.resize(logits_grad, softmax.shape);
  T* r = host::out<T>(ctx, logits_grad);
  const T* p = host::in<T>(softmax);
  const T* g = host::in<T>(loss_grad);
  if (soft_label) {
    const T* weights = host::in<T>(label);
    host::launch(ctx, [=] {
      slices.each([&](int64_t slice, int64_t offset) {
        for (int64_t k = offset; k < offset + slices.length * slices.inner; k += slices.inner)
          r[k] = g[slice] * (use_softmax ? p[k] - weights[k] : -weights[k] / p[k]);
      });
    });
    return;
  }
  visit_dtype<int32_t, int64_t, int16_t, int8_t, uint8_t>(label.dtype, "a hard label", [&](auto tag) {
    using C = Compute<T>;
    const auto* labels = host::in<typename decltype(tag)::type>(label);
    host::launch(ctx, [=] {
      slices.each([&](int64_t slice, int64_t offset) {
        const int64_t c = checked_class(labels, slice, slices.length, ignore_index);
        const int64_t own = offset + c * slices.inner;
        const C upstream = g[slice];
        const C own_grad = c < 0 ? C(0) : upstream * (use_softmax ? p[own] - C(1) : C(-1) / p[own]);
        const C share = c < 0 || !use_softmax ? C(0) : upstream;
        if (slices.inner == 1 && share != C(0))
          host::map(p + offset, r + offset, slices.length, [=](C v) { return share * v; });
        else
          for (int64_t k = offset; k < offset + slices.length * slices.inner; k += slices.inner)
            r[k] = share == C(0) ? C(0) : share * p[k];
        if (c >= 0) r[own] = own_grad;
      });
    });
  });
}

ADAPTER_KERNEL("cross_entropy_with_softmax", cross_entropy_with_softmax, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("cross_entropy_with_softmax_grad", cross_entropy_with_softmax_grad, none, float, double, float16,
               bfloat16)

}  // namespace adapter::kernels
