#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// param_out = param - learning_rate * grad; the learning rate is a one-element tensor.
template <typename T>
void sgd(Context& ctx, const Tensor& param, const Tensor& learning_rate, const Tensor& grad,
         const OptionalTensor& master_param, bool multi_precision, Output& param_out, Output& master_param_out) {
  if (multi_precision) throw Unimplemented("sgd with master weights needs a half-precision parameter");
  const T* p = host::in<T>(param);
  const T* g = host::in<T>(grad);
  const T* lr = host::in<T>(learning_rate);
  T* r = host::out<T>(ctx, param_out);
  if (master_param_out) {
    ctx.resize(master_param_out, master_param ? master_param.shape : param.shape);
    ctx.alloc<T>(master_param_out);
  }
  const int64_t n = param.numel();
  host::launch(ctx, [=] {
    const T rate = *lr;
    for (int64_t i = 0; i < n; ++i) r[i] = p[i] - rate * g[i];
  });
}

ADAPTER_KERNEL("sgd", sgd, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
