// What automatic mixed precision does to gradients: check_finite_and_unscale and update_loss_scaling.
#include <algorithm>
#include <cmath>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
struct ScaledTensor {
  const T* x;
  T* out;
  int64_t n;
};

template <typename T>
std::vector<ScaledTensor<T>> scaled_tensors(Context& ctx, const TensorList& xs, OutputList& outs) {
  std::vector<ScaledTensor<T>> tensors;
  for (size_t i = 0; i < xs.size(); ++i) {
    ctx.resize(outs[i], xs[i].shape);
    tensors.push_back({host::in<T>(xs[i]), host::out<T>(ctx, outs[i]), xs[i].numel()});
  }
  return tensors;
}

// out = x / scale; found_infinite says whether any element of any tensor is NaN or infinite.
template <typename T>
void check_finite_and_unscale(Context& ctx, const TensorList& xs, const Tensor& scale, OutputList& outs,
                              Output& found_infinite) {
  using C = Compute<T>;
  const std::vector<ScaledTensor<T>> tensors = scaled_tensors<T>(ctx, xs, outs);
  ctx.resize(found_infinite, {1});
  bool* found = host::out<bool>(ctx, found_infinite);
  const C* divisor = host::in<C>(scale);
  host::launch(ctx, [=] {
    const C inverse = C(1) / *divisor;
    bool any = false;
    for (const ScaledTensor<T>& tensor : tensors) {
      std::vector<char> strange(static_cast<size_t>(tensor.n / host::kElementGrain + 1));
      host::parallel_for(tensor.n, host::kElementGrain, [&](int64_t begin, int64_t end) {
        bool finite = true;
        for (int64_t i = begin; i < end; ++i) {
          const C value = static_cast<C>(tensor.x[i]) * inverse;
          finite &= std::isfinite(value);
          tensor.out[i] = value;
        }
        strange[static_cast<size_t>(begin / host::kElementGrain)] = !finite;
      });
      any = any || std::any_of(strange.begin(), strange.end(), [](char one) { return one != 0; });
    }
    *found = any;
  });
}

// The scale grows after so many good steps in a row, and shrinks (not below 1) after so many bad ones.
template <typename C>
void next_loss_scaling(bool bad_step, C scale, int32_t good, int32_t bad, int32_t grow_after, int32_t shrink_after,
                       C growth, C shrinkage, C* scale_out, int32_t* good_out, int32_t* bad_out) {
  *scale_out = scale;
  *good_out = bad_step ? 0 : good + 1;
  *bad_out = bad_step ? bad + 1 : 0;
  if (bad_step && *bad_out == shrink_after) {
    *scale_out = std::max(scale * shrinkage, C(1));
    *bad_out = 0;
  } else if (!bad_step && *good_out == grow_after) {
    if (std::isfinite(scale * growth)) *scale_out = scale * growth;
    *good_out = 0;
  }
}

// Tensors of a bad step become zero, so that the optimizer's step does nothing much.
template <typename T>
void update_loss_scaling(Context& ctx, const TensorList& xs, const Tensor& found_infinite,
                         const Tensor& prev_loss_scaling, const Tensor& in_good_steps, const Tensor& in_bad_steps,
                         int32_t incr_every_n_steps, int32_t decr_every_n_nan_or_inf, float incr_ratio,
                         float decr_ratio, const Scalar& stop_update, OutputList& outs, Output& loss_scaling,
                         Output& out_good_steps, Output& out_bad_steps) {
  using C = Compute<T>;
  const std::vector<ScaledTensor<T>> tensors = scaled_tensors<T>(ctx, xs, outs);
  const bool* found = host::in<bool>(found_infinite);
  const bool stop = stop_update.to<bool>();
  const C* scale = host::in<C>(prev_loss_scaling);
  const int32_t *good = host::in<int32_t>(in_good_steps), *bad = host::in<int32_t>(in_bad_steps);
  for (Output* one : {&loss_scaling, &out_good_steps, &out_bad_steps}) ctx.resize(*one, {1});
  C* scale_out = host::out<C>(ctx, loss_scaling);
  int32_t *good_out = host::out<int32_t>(ctx, out_good_steps), *bad_out = host::out<int32_t>(ctx, out_bad_steps);
  host::launch(ctx, [=] {
    const bool bad_step = *found;
    if (stop)
      *scale_out = *scale, *good_out = *good, *bad_out = *bad;
    else
      next_loss_scaling<C>(bad_step, *scale, *good, *bad, incr_every_n_steps, decr_every_n_nan_or_inf,
                           static_cast<C>(incr_ratio), static_cast<C>(decr_ratio), scale_out, good_out, bad_out);
    for (const ScaledTensor<T>& tensor : tensors) {
      if (bad_step)
        std::fill(tensor.out, tensor.out + tensor.n, T(0));
      else if (tensor.out != tensor.x)
        std::copy(tensor.x, tensor.x + tensor.n, tensor.out);
    }
  });
}

ADAPTER_KERNEL("check_finite_and_unscale", check_finite_and_unscale, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("update_loss_scaling", update_loss_scaling, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
