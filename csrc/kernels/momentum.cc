// Gradient descent with momentum (Polyak 1964; Nesterov 1983), as Paddle defines it: the learning rate does not enter
// the velocity.
#include <string>

#include "adam.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T, typename V>
struct MomentumState {
  const T *param, *grad;
  const V* velocity;
  const Compute<T>* master;
  T* param_out;
  V* velocity_out;
  Compute<T>* master_out;
};

template <typename C>
struct MomentumRates {
  C mu, decay, rescale;
  bool nesterov;
};

template <typename T, typename V>
void momentum_range(const MomentumState<T, V>& s, const MomentumRates<Compute<T>>& k, Compute<T> rate, int64_t begin,
                    int64_t end) {
  using C = Compute<T>;
  for (int64_t i = begin; i < end; ++i) {
    const C p = s.master ? s.master[i] : static_cast<C>(s.param[i]);
    C g = static_cast<C>(s.grad[i]) * k.rescale;
    if (k.decay != 0) g += k.decay * p;  // an infinite parameter that does not decay leaves its gradient alone
    const C v = static_cast<C>(s.velocity[i]) * k.mu + g;
    const C stepped = p - rate * (k.nesterov ? g + v * k.mu : v);
    s.velocity_out[i] = v;
    s.param_out[i] = stepped;
    if (s.master_out) s.master_out[i] = stepped;
  }
}

// The velocity has the dtype of the weights that take the step: float32 with master weights, else the parameter's.
template <typename T>
void momentum(Context& ctx, const Tensor& param, const Tensor& grad, const Tensor& velocity,
              const Tensor& learning_rate, const OptionalTensor& master_param, float mu, bool use_nesterov,
              const std::string& regularization_method, float regularization_coeff, bool multi_precision,
              float rescale_grad, Output& param_out, Output& velocity_out, Output& master_param_out) {
  using C = Compute<T>;
  if (multi_precision && !master_param)
    throw InvalidArgument("multi_precision asks for master weights, and none are given");
  const C decay = regularization_method == "l2_decay" ? static_cast<C>(regularization_coeff) : C(0);
  const MomentumRates<C> k{static_cast<C>(mu), decay, static_cast<C>(rescale_grad), use_nesterov};
  C* const master_out = same_shape<C>(ctx, param, master_param_out);
  bool launched = false;  // T and Compute<T> can be one type
  visit_dtype<T, C>(velocity.dtype, "the velocity", [&](auto tag) {
    if (launched) return;
    launched = true;
    using V = typename decltype(tag)::type;
    const MomentumState<T, V> s{host::in<T>(param),
                                host::in<T>(grad),
                                host::in<V>(velocity),
                                multi_precision ? host::in<C>(master_param) : nullptr,
                                same_shape<T>(ctx, param, param_out),
                                same_shape<V>(ctx, velocity, velocity_out),
                                multi_precision ? master_out : nullptr};
    const HostOrDevice<C> rate(ctx, learning_rate);
    host::launch(ctx, [=, n = param.numel()] {
      host::parallel_for(n, host::kElementGrain,
                         [&](int64_t begin, int64_t end) { momentum_range(s, k, rate.get(), begin, end); });
    });
  });
}

ADAPTER_KERNEL("momentum", momentum, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
