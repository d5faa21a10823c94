// Adam over many parameters in one call: merged_adam, and fused_adam with one learning rate and decoupled decay.
#include "adam.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

inline OptionalTensor optional_item(const TensorList& list, size_t i) {
  OptionalTensor item;
  if (i < list.size()) static_cast<Tensor&>(item) = list[i];
  return item;
}

template <typename T>
void merged_adam(Context& ctx, const TensorList& param, const TensorList& grad, const TensorList& learning_rate,
                 const TensorList& moment1, const TensorList& moment2, const OptionalTensorList& moment2_max,
                 const TensorList& beta1_pow, const TensorList& beta2_pow, const OptionalTensorList& master_param,
                 const Scalar& beta1, const Scalar& beta2, const Scalar& epsilon, bool multi_precision,
                 bool use_global_beta_pow, bool amsgrad, OutputList& param_out, OutputList& moment1_out,
                 OutputList& moment2_out, OutputList& moment2_max_out, OutputList& beta1_pow_out,
                 OutputList& beta2_pow_out, OutputList& master_param_out) {
  const AdamSettings settings{beta1.to<double>(),
                              beta2.to<double>(),
                              epsilon.to<double>(),
                              1.0,
                              0.0,
                              multi_precision,
                              use_global_beta_pow,
                              amsgrad};
  for (size_t i = 0; i < param.size(); ++i) {
    const Tensor& rate = learning_rate[learning_rate.size() == 1 ? 0 : i];
    Output no_largest, no_master;
    adam_step<T>(
        ctx,
        {param[i], grad[i], rate, moment1[i], moment2[i], optional_item(moment2_max, i), beta1_pow[i], beta2_pow[i],
         optional_item(master_param, i)},
        settings,
        {param_out[i], moment1_out[i], moment2_out[i], i < moment2_max_out.size() ? moment2_max_out[i] : no_largest,
         beta1_pow_out[i], beta2_pow_out[i], i < master_param_out.size() ? master_param_out[i] : no_master});
  }
}

template <typename T>
void fused_adam(Context& ctx, const TensorList& param, const TensorList& grad, const Tensor& learning_rate,
                const TensorList& moment1, const TensorList& moment2, const OptionalTensorList& moment2_max,
                const TensorList& beta1_pow, const TensorList& beta2_pow, const OptionalTensorList& master_param,
                const OptionalTensor& skip_update, const Scalar& beta1, const Scalar& beta2, const Scalar& epsilon,
                int32_t /*chunk_size*/, float weight_decay, bool use_adamw, bool multi_precision,
                bool use_global_beta_pow, bool amsgrad, OutputList& param_out, OutputList& moment1_out,
                OutputList& moment2_out, OutputList& moment2_max_out, OutputList& beta1_pow_out,
                OutputList& beta2_pow_out, OutputList& master_param_out) {
  const bool skip = skip_update && read_scalar<bool>(ctx, skip_update);
  const AdamSettings settings{beta1.to<double>(),
                              beta2.to<double>(),
                              epsilon.to<double>(),
                              1.0,
                              use_adamw ? static_cast<double>(weight_decay) : 0.0,
                              multi_precision,
                              use_global_beta_pow,
                              amsgrad};
  for (size_t i = 0; i < param.size(); ++i) {
    Output no_largest, no_master;
    const AdamTensors in{param[i],     grad[i],      learning_rate,
                         moment1[i],   moment2[i],   optional_item(moment2_max, i),
                         beta1_pow[i], beta2_pow[i], optional_item(master_param, i)};
    const AdamOutputs out{param_out[i],
                          moment1_out[i],
                          moment2_out[i],
                          i < moment2_max_out.size() ? moment2_max_out[i] : no_largest,
                          beta1_pow_out[i],
                          beta2_pow_out[i],
                          i < master_param_out.size() ? master_param_out[i] : no_master};
    if (skip)
      skip_adam<T>(ctx, in, out);
    else
      adam_step<T>(ctx, in, settings, out);
  }
}

ADAPTER_KERNEL("merged_adam", merged_adam, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("fused_adam", fused_adam, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
