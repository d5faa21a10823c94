// squared_l2_norm, and clip_by_norm, which scales by the norm.
#include <cmath>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// Sum of squares: chunk by chunk, then over the chunks in order, whatever the number of cores.
template <typename T>
Accumulator<T> sum_of_squares(const T* a, int64_t n) {
  using A = Accumulator<T>;
  std::vector<A> sums(static_cast<size_t>(n / host::kElementGrain + 1));
  host::parallel_for(n, host::kElementGrain, [&](int64_t begin, int64_t end) {
    constexpr int64_t kLanes = 16;  // independent sums, for the vector unit
    A lanes[kLanes] = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes)
      for (int64_t j = 0; j < kLanes; ++j) {
        const A value = static_cast<A>(a[i + j]);
        lanes[j] += value * value;
      }
    A total = 0;
    for (; i < end; ++i) total += static_cast<A>(a[i]) * static_cast<A>(a[i]);
    for (const A lane : lanes) total += lane;
    sums[static_cast<size_t>(begin / host::kElementGrain)] = total;
  });
  A total = 0;
  for (const A sum : sums) total += sum;
  return total;
}

// Of shape [1].
template <typename T>
void squared_l2_norm(Context& ctx, const Tensor& x, Output& out) {
  ctx.resize(out, {1});
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, n = x.numel()] { r[0] = static_cast<T>(sum_of_squares(a, n)); });
}

template <typename T>
void squared_l2_norm_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, Output& x_grad) {
  using C = Compute<T>;
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* a = host::in<T>(x);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=, n = x.numel()] {
    const C upstream = g[0];
    host::parallel_for(n, host::kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) r[i] = C(2) * static_cast<C>(a[i]) * upstream;
    });
  });
}

// x where its 2-norm is at most max_norm, else x * max_norm / norm.
template <typename T>
void clip_by_norm(Context& ctx, const Tensor& x, float max_norm, Output& out) {
  using A = Accumulator<T>;
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, n = x.numel()] {
    const A norm = std::sqrt(sum_of_squares(a, n));
    const A limit = static_cast<A>(max_norm), factor = norm > limit ? limit / norm : A(1);
    host::parallel_for(n, host::kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) r[i] = static_cast<T>(static_cast<A>(a[i]) * factor);
    });
  });
}

ADAPTER_KERNEL("squared_l2_norm", squared_l2_norm, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("squared_l2_norm_grad", squared_l2_norm_grad, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("clip_by_norm", clip_by_norm, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
