// One step of Adam (Kingma and Ba, arXiv:1412.6980) or AdamW (Loshchilov and Hutter, arXiv:1711.05101), as Paddle
// defines their state: the powers of beta are tensors that advance with the step and may lie on the host. A half-type
// parameter has float32 moments, and with master weights a float32 copy that takes the step.
#pragma once

#include <algorithm>
#include <cmath>

#include "adapter_sdk/half.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/loops.h"
#include "adapter_sdk/host/parallel.h"
#include "dispatch.h"

namespace adapter::kernels {

struct AdamTensors {
  Tensor param, grad, learning_rate, moment1, moment2;
  OptionalTensor moment2_max;
  Tensor beta1_pow, beta2_pow;
  OptionalTensor master;
};

struct AdamSettings {
  double beta1, beta2, epsilon;
  double lr_ratio, decay;  // decay is 0 where none is wanted
  bool multi_precision, use_global_beta_pow, amsgrad;
};

// Any of them may be unneeded.
struct AdamOutputs {
  Output &param, &moment1, &moment2, &moment2_max, &beta1_pow, &beta2_pow, &master;
};

// A one-element tensor of float32 or float64: read on the stream, or at once where Paddle keeps it on the host.
template <typename M>
struct HostOrDevice {
  const void* address;
  DType dtype;
  M value;

  HostOrDevice(Context& ctx, const Tensor& tensor)
      : address(ctx.on_host(tensor) ? nullptr : host::alias(tensor.data)), dtype(tensor.dtype), value(0) {
    visit_dtype<float, double, float16, bfloat16>(dtype, "a rate or power", [&](auto tag) {
      using Stored = typename decltype(tag)::type;
      if (address == nullptr) value = static_cast<M>(read_scalar<Stored>(ctx, tensor));
    });
  }
  M get() const {
    if (address == nullptr) return value;
    switch (dtype) {
      case DType::float64: return static_cast<M>(*static_cast<const double*>(address));
      case DType::float16: return static_cast<M>(*static_cast<const float16*>(address));
      case DType::bfloat16: return static_cast<M>(*static_cast<const bfloat16*>(address));
      default: return static_cast<M>(*static_cast<const float*>(address));
    }
  }
};

template <typename T>
T* same_shape(Context& ctx, const Tensor& like, Output& out) {
  if (!out) return nullptr;
  ctx.resize(out, like.shape);
  return host::out<T>(ctx, out);
}

// What the inner loop needs. M is the type of moments and arithmetic, G that of the gradient.
template <typename T, typename M, typename G>
struct AdamState {
  const T* param;
  const G* grad;
  const M *moment1, *moment2, *moment2_max, *master;
  T* param_out;
  M *moment1_out, *moment2_out, *moment2_max_out, *master_out;
};

template <typename M>
struct AdamRates {
  M beta1, beta2, shrink, step_size, epsilon;  // shrink: what decay leaves of a parameter
};

// The step size folds both bias corrections: lr * sqrt(1 - beta2^t) / (1 - beta1^t), and epsilon the second.
// p and g: parameters and gradients in the type of moments; the parameters are replaced. One loop for each statement
// that few runs need, so that all of them become vector instructions.
template <typename M>
ADAPTER_WIDE_VECTORS void adam_stage(M* p, const M* g, const M* moment1, const M* moment2, const M* largest,
                                     M* moment1_out, M* moment2_out, M* largest_out, AdamRates<M> k, int64_t n) {
  M scale[host::kStage];
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) {
    const M m1 = k.beta1 * moment1[j] + (M(1) - k.beta1) * g[j];
    const M m2 = k.beta2 * moment2[j] + (M(1) - k.beta2) * g[j] * g[j];
    moment1_out[j] = m1;
    moment2_out[j] = scale[j] = m2;
  }
  if (largest_out != nullptr) {
    ADAPTER_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) largest_out[j] = scale[j] = scale[j] < largest[j] ? largest[j] : scale[j];
  }
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j)
    p[j] = p[j] * k.shrink - k.step_size * (moment1_out[j] / (std::sqrt(scale[j]) + k.epsilon));
}

template <typename T, typename M, typename G>
void adam_range(const AdamState<T, M, G>& s, const AdamRates<M>& k, int64_t begin, int64_t end) {
  M p[host::kStage], g[host::kStage];
  for (int64_t i = begin; i < end; i += host::kStage) {
    const int64_t n = std::min(host::kStage, end - i);
    host::widen(s.grad + i, 1, g, n);
    if (s.master)
      std::copy_n(s.master + i, n, p);
    else
      host::widen(s.param + i, 1, p, n);
    const M* largest = s.moment2_max_out ? s.moment2_max + i : nullptr;
    M* largest_out = s.moment2_max_out ? s.moment2_max_out + i : nullptr;
    adam_stage(p, g, s.moment1 + i, s.moment2 + i, largest, s.moment1_out + i, s.moment2_out + i, largest_out, k, n);
    host::narrow(p, s.param_out + i, 1, n);
    if (s.master_out) std::copy_n(p, n, s.master_out + i);
  }
}

template <typename T, typename G>
void launch_adam(Context& ctx, const AdamTensors& in, const AdamSettings& settings, const AdamOutputs& out) {
  using M = Compute<T>;
  AdamState<T, M, G> s{};
  s.param = host::in<T>(in.param);
  s.grad = host::in<G>(in.grad);
  s.moment1 = host::in<M>(in.moment1);
  s.moment2 = host::in<M>(in.moment2);
  s.moment2_max = in.moment2_max ? host::in<M>(in.moment2_max) : nullptr;
  if (settings.multi_precision) {
    if (!in.master) throw InvalidArgument("multi_precision asks for master weights, and none are given");
    s.master = host::in<M>(in.master);
  }
  s.param_out = same_shape<T>(ctx, in.param, out.param);
  s.moment1_out = same_shape<M>(ctx, in.moment1, out.moment1);
  s.moment2_out = same_shape<M>(ctx, in.moment2, out.moment2);
  M* const largest = same_shape<M>(ctx, in.moment2, out.moment2_max);
  s.moment2_max_out = settings.amsgrad ? largest : nullptr;
  M* const master = same_shape<M>(ctx, in.param, out.master);
  s.master_out = settings.multi_precision ? master : nullptr;
  const HostOrDevice<M> rate(ctx, in.learning_rate), power1(ctx, in.beta1_pow), power2(ctx, in.beta2_pow);
  // With global powers someone else advances them; the outputs still have to exist.
  M* power1_out = same_shape<M>(ctx, in.beta1_pow, out.beta1_pow);
  M* power2_out = same_shape<M>(ctx, in.beta2_pow, out.beta2_pow);
  if (settings.use_global_beta_pow) power1_out = power2_out = nullptr;
  const int64_t n = in.param.numel();
  host::launch(ctx, [=] {
    const M beta1_t = power1.get(), beta2_t = power2.get(), lr = rate.get() * static_cast<M>(settings.lr_ratio);
    const M correction2 = std::sqrt(M(1) - beta2_t);
    const AdamRates<M> k{static_cast<M>(settings.beta1), static_cast<M>(settings.beta2),
                         M(1) - lr * static_cast<M>(settings.decay), lr * correction2 / (M(1) - beta1_t),
                         static_cast<M>(settings.epsilon) * correction2};
    host::parallel_for(n, host::kElementGrain, [&](int64_t begin, int64_t end) { adam_range(s, k, begin, end); });
    if (power1_out) *power1_out = k.beta1 * beta1_t;
    if (power2_out) *power2_out = k.beta2 * beta2_t;
  });
}

// The outputs take over the inputs' values.
template <typename T>
void skip_adam(Context& ctx, const AdamTensors& in, const AdamOutputs& out) {
  using M = Compute<T>;
  const auto keep = [&ctx](auto tag, const Tensor& from, Output& to) {
    using Stored = typename decltype(tag)::type;
    if (!to) return;
    const bool on_host = ctx.on_host(from);
    const Stored value = on_host ? read_scalar<Stored>(ctx, from) : Stored();
    Stored* r = same_shape<Stored>(ctx, from, to);
    const Stored* a = on_host ? nullptr : host::in<Stored>(from);
    host::launch(ctx, [=, n = from.numel()] {
      for (int64_t i = 0; i < n && r != a; ++i) r[i] = a ? a[i] : value;
    });
  };
  keep(TypeTag<T>{}, in.param, out.param);
  keep(TypeTag<M>{}, in.moment1, out.moment1);
  keep(TypeTag<M>{}, in.moment2, out.moment2);
  keep(TypeTag<M>{}, in.moment2_max ? static_cast<const Tensor&>(in.moment2_max) : in.moment2, out.moment2_max);
  keep(TypeTag<M>{}, in.beta1_pow, out.beta1_pow);
  keep(TypeTag<M>{}, in.beta2_pow, out.beta2_pow);
  if (in.master)
    keep(TypeTag<M>{}, in.master, out.master);
  else
    same_shape<M>(ctx, in.param, out.master);
}

// A float32 gradient may come with a half-type parameter (Paddle's master gradients).
template <typename T>
void adam_step(Context& ctx, const AdamTensors& in, const AdamSettings& settings, const AdamOutputs& out) {
  visit_dtype<T, Compute<T>>(in.grad.dtype, "the gradient", [&, done = false](auto tag) mutable {
    if (done) return;  // T and Compute<T> can be one type
    done = true;
    launch_adam<T, typename decltype(tag)::type>(ctx, in, settings, out);
  });
}

}  // namespace adapter::kernels
