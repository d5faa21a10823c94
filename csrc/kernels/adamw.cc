// AdamW with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), as Paddle defines its state: the powers
// of beta are tensors that advance with the step and may lie on the host.
#include <algorithm>
#include <cmath>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
struct AdamState {
  const T *param, *grad, *moment1, *moment2, *moment2_max;
  T *param_out, *moment1_out, *moment2_out, *moment2_max_out;
};

template <typename T>
struct AdamRates {
  T beta1, beta2, epsilon, learning_rate, decay;
  bool with_decay, amsgrad;
};

// One parameter element. The step size folds both bias corrections: lr * sqrt(1 - beta2^t) / (1 - beta1^t).
template <typename T>
void adam_update(const AdamState<T>& s, const AdamRates<T>& k, T step_size, T epsilon, int64_t i) {
  const T g = s.grad[i];
  T p = s.param[i];
  if (k.with_decay) p -= k.learning_rate * k.decay * p;
  const T m1 = k.beta1 * s.moment1[i] + (T(1) - k.beta1) * g;
  const T m2 = k.beta2 * s.moment2[i] + (T(1) - k.beta2) * g * g;
  T scale = m2;
  if (k.amsgrad) {
    scale = std::max(m2, s.moment2_max[i]);
    s.moment2_max_out[i] = scale;
  }
  s.moment1_out[i] = m1;
  s.moment2_out[i] = m2;
  s.param_out[i] = p - step_size * (m1 / (std::sqrt(scale) + epsilon));
}

template <typename T>
T* same_shape(Context& ctx, const Tensor& like, Output& out) {
  if (!out) return nullptr;
  ctx.resize(out, like.shape);
  return host::out<T>(ctx, out);
}

// A power of beta. Paddle creates it on the host; allocating its output moves it to the device after the first step.
template <typename T>
struct Power {
  const T* address;
  T value;
  T get() const { return address ? *address : value; }
};

template <typename T>
Power<T> read_power(Context& ctx, const Tensor& power) {
  if (ctx.on_host(power)) return {nullptr, read_scalar<T>(ctx, power)};
  return {host::in<T>(power), T(0)};
}

template <typename T>
void adamw(Context& ctx, const Tensor& param, const Tensor& grad, const Tensor& learning_rate, const Tensor& moment1,
           const Tensor& moment2, const OptionalTensor& moment2_max, const Tensor& beta1_pow, const Tensor& beta2_pow,
           const OptionalTensor& /*master_param*/, const OptionalTensor& skip_update, const Scalar& beta1,
           const Scalar& beta2, const Scalar& epsilon, float lr_ratio, float coeff, bool with_decay, bool /*lazy_mode*/,
           int64_t /*min_row_size_to_use_multithread*/, bool multi_precision, bool use_global_beta_pow, bool amsgrad,
           Output& param_out, Output& moment1_out, Output& moment2_out, Output& moment2_max_out, Output& beta1_pow_out,
           Output& beta2_pow_out, Output& master_param_out) {
  if (multi_precision) throw Unimplemented("adamw with master weights needs a half-precision parameter");
  if (skip_update && read_scalar<bool>(ctx, skip_update)) throw Unimplemented("adamw with skip_update set");
  AdamState<T> s{};
  s.param = host::in<T>(param);
  s.grad = host::in<T>(grad);
  s.moment1 = host::in<T>(moment1);
  s.moment2 = host::in<T>(moment2);
  s.moment2_max = moment2_max ? host::in<T>(moment2_max) : nullptr;
  s.param_out = same_shape<T>(ctx, param, param_out);
  s.moment1_out = same_shape<T>(ctx, moment1, moment1_out);
  s.moment2_out = same_shape<T>(ctx, moment2, moment2_out);
  if (amsgrad)
    s.moment2_max_out = same_shape<T>(ctx, moment2_max, moment2_max_out);
  else if (moment2_max_out)
    same_shape<T>(ctx, moment2, moment2_max_out);
  if (master_param_out) same_shape<T>(ctx, param, master_param_out);
  const T* lr = host::in<T>(learning_rate);
  const Power<T> power1 = read_power<T>(ctx, beta1_pow);
  const Power<T> power2 = read_power<T>(ctx, beta2_pow);
  T* power1_out = use_global_beta_pow ? nullptr : same_shape<T>(ctx, beta1_pow, beta1_pow_out);
  T* power2_out = use_global_beta_pow ? nullptr : same_shape<T>(ctx, beta2_pow, beta2_pow_out);
  if (use_global_beta_pow) {  // the outputs still have to exist
    same_shape<T>(ctx, beta1_pow, beta1_pow_out);
    same_shape<T>(ctx, beta2_pow, beta2_pow_out);
  }
  AdamRates<T> k{beta1.to<T>(), beta2.to<T>(), epsilon.to<T>(), T(0), static_cast<T>(coeff), with_decay, amsgrad};
  const T ratio = static_cast<T>(lr_ratio);
  const int64_t n = param.numel();
  host::launch(ctx, [=]() mutable {
    k.learning_rate = *lr * ratio;
    const T beta1_t = power1.get(), beta2_t = power2.get();
    const T correction2 = std::sqrt(T(1) - beta2_t);
    const T step_size = k.learning_rate * correction2 / (T(1) - beta1_t);
    const T scaled_epsilon = k.epsilon * correction2;
    for (int64_t i = 0; i < n; ++i) adam_update(s, k, step_size, scaled_epsilon, i);
    if (power1_out) *power1_out = k.beta1 * beta1_t;
    if (power2_out) *power2_out = k.beta2 * beta2_t;
  });
}

ADAPTER_KERNEL("adamw", adamw, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
