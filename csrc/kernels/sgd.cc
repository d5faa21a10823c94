#include "adam.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// param_out = param - learning_rate * grad; the learning rate is a one-element tensor. With master weights, these take
// the step, and the parameter is their rounded copy.
template <typename T>
void sgd(Context& ctx, const Tensor& param, const Tensor& learning_rate, const Tensor& grad,
         const OptionalTensor& master_param, bool multi_precision, Output& param_out, Output& master_param_out) {
  using C = Compute<T>;
  if (multi_precision && !master_param)
    throw InvalidArgument("multi_precision asks for master weights, and none are given");
  const T* p = host::in<T>(param);
  const T* g = host::in<T>(grad);
  const C* master = multi_precision ? host::in<C>(master_param) : nullptr;
  T* r = same_shape<T>(ctx, param, param_out);
  C* kept = same_shape<C>(ctx, param, master_param_out);
  C* master_out = multi_precision ? kept : nullptr;
  const HostOrDevice<C> rate(ctx, learning_rate);
  host::launch(ctx, [=, n = param.numel()] {
    const C lr = rate.get();
    host::parallel_for(n, host::kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const C stepped = (master ? master[i] : static_cast<C>(p[i])) - lr * static_cast<C>(g[i]);
        r[i] = stepped;
        if (master_out) master_out[i] = stepped;
      }
    });
  });
}

ADAPTER_KERNEL("sgd", sgd, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
