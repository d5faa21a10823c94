// adamw and adam: decoupled weight decay, or none.
#include "adam.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
void adamw(Context& ctx, const Tensor& param, const Tensor& grad, const Tensor& learning_rate, const Tensor& moment1,
           const Tensor& moment2, const OptionalTensor& moment2_max, const Tensor& beta1_pow, const Tensor& beta2_pow,
           const OptionalTensor& master_param, const OptionalTensor& skip_update, const Scalar& beta1,
           const Scalar& beta2, const Scalar& epsilon, float lr_ratio, float coeff, bool with_decay, bool /*lazy_mode*/,
           int64_t /*min_row_size_to_use_multithread*/, bool multi_precision, bool use_global_beta_pow, bool amsgrad,
           Output& param_out, Output& moment1_out, Output& moment2_out, Output& moment2_max_out, Output& beta1_pow_out,
           Output& beta2_pow_out, Output& master_param_out) {
  const AdamTensors in{param, grad, learning_rate, moment1, moment2, moment2_max, beta1_pow, beta2_pow, master_param};
  const AdamOutputs out{param_out,     moment1_out,   moment2_out,     moment2_max_out,
                        beta1_pow_out, beta2_pow_out, master_param_out};
  if (skip_update && read_scalar<bool>(ctx, skip_update)) return skip_adam<T>(ctx, in, out);
  const double decay = with_decay ? static_cast<double>(coeff) : 0.0;
  adam_step<T>(ctx, in,
               {beta1.to<double>(), beta2.to<double>(), epsilon.to<double>(), static_cast<double>(lr_ratio), decay,
                multi_precision, use_global_beta_pow, amsgrad},
               out);
}

// Lazy mode concerns sparse gradients only.
template <typename T>
void adam(Context& ctx, const Tensor& param, const Tensor& grad, const Tensor& learning_rate, const Tensor& moment1,
          const Tensor& moment2, const OptionalTensor& moment2_max, const Tensor& beta1_pow, const Tensor& beta2_pow,
          const OptionalTensor& master_param, const OptionalTensor& skip_update, const Scalar& beta1,
          const Scalar& beta2, const Scalar& epsilon, bool lazy_mode, int64_t min_row_size_to_use_multithread,
          bool multi_precision, bool use_global_beta_pow, bool amsgrad, Output& param_out, Output& moment1_out,
          Output& moment2_out, Output& moment2_max_out, Output& beta1_pow_out, Output& beta2_pow_out,
          Output& master_param_out) {
  adamw<T>(ctx, param, grad, learning_rate, moment1, moment2, moment2_max, beta1_pow, beta2_pow, master_param,
           skip_update, beta1, beta2, epsilon, 1.0f, 0.0f, false, lazy_mode, min_row_size_to_use_multithread,
           multi_precision, use_global_beta_pow, amsgrad, param_out, moment1_out, moment2_out, moment2_max_out,
           beta1_pow_out, beta2_pow_out, master_param_out);
}

ADAPTER_KERNEL("adamw", adamw, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("adam", adam, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
