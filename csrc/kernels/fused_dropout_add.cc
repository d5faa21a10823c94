// dropout(x) + y. No mask is stored: the gradient draws the same numbers again.
#include <algorithm>
#include <string>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "philox.h"

namespace adapter::kernels {

// What x is multiplied by: where it is kept in training, and in a test.
struct DropoutAddPlan {
  bool is_test;
  double p, kept = 1, tested = 1;

  DropoutAddPlan(double probability, bool test, const std::string& mode) : is_test(test), p(probability) {
    if (!(p >= 0 && p <= 1))
      throw InvalidArgument("fused_dropout_add: probability " + std::to_string(p) + " is outside [0, 1]");
    if (mode == "upscale_in_train")
      kept = p < 1 ? 1 / (1 - p) : 0;
    else if (mode == "downscale_in_infer" || mode == "downgrade_in_infer")
      tested = 1 - p;
    else
      throw InvalidArgument("fused_dropout_add: mode '" + mode +
                            "' is neither upscale_in_train nor downscale_in_infer");
  }

  // Calls element(i, factor) for all elements, 0 where x is dropped. To be called inside launch().
  template <typename C, typename Element>
  void each(int64_t n, const int64_t* seed_offset, Element&& element) const {
    const RandomDraw draw(static_cast<uint64_t>(seed_offset[0]), static_cast<uint64_t>(seed_offset[1]));
    const auto threshold = static_cast<uint64_t>(p * 0x1p32);
    const C in_training = static_cast<C>(kept), in_test = static_cast<C>(tested);
    const bool drops = !is_test && p > 0;
    host::parallel_for(n, host::kElementGrain, [&](int64_t begin, int64_t end) {
      constexpr int64_t kStep = 4 * kPhiloxLanes;
      for (int64_t i = begin; i < end; i += kStep) {
        const int64_t m = std::min(kStep, end - i);
        C factors[kStep];
        std::fill(factors, factors + kStep, is_test ? in_test : in_training);
        if (drops) {
          const PhiloxBlocks blocks = draw.blocks(i / 4);
          for (int64_t l = 0; l < kPhiloxLanes; ++l)
            for (int64_t word = 0; word < 4; ++word)
              if (blocks.words[word][l] < threshold) factors[4 * l + word] = C(0);
        }
        for (int64_t j = 0; j < m; ++j) element(i + j, factors[j]);
      }
    });
  }
};

// seed_offset holds {seed, draw}, from which the gradient finds the same random numbers.
template <typename T>
void fused_dropout_add(Context& ctx, const Tensor& x, const Tensor& y, const OptionalTensor& seed_tensor,
                       const Scalar& p, bool is_test, const std::string& mode, int32_t seed, bool fix_seed, Output& out,
                       Output& seed_offset) {
  using C = Compute<T>;
  const DropoutAddPlan plan(p.real, is_test, mode);
  if (x.shape != y.shape)
    throw InvalidArgument("fused_dropout_add: x of shape " + to_string(x.shape) + " and y of " + to_string(y.shape));
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  std::array<int64_t, 2> source{seed_tensor ? read_scalar<int32_t>(ctx, seed_tensor) : fix_seed ? seed : 0, 0};
  if (source[0] == 0 && !is_test) {
    const auto [own_seed, number] = ctx.random(1);
    source = {static_cast<int64_t>(own_seed), static_cast<int64_t>(number)};
  }
  int64_t* kept_source = nullptr;
  if (seed_offset) {
    ctx.resize(seed_offset, {2});
    kept_source = host::out<int64_t>(ctx, seed_offset);
  }
  const T *a = host::in<T>(x), *b = host::in<T>(y);
  const int64_t n = x.numel();
  host::launch(ctx, [=] {
    if (kept_source) std::copy(source.begin(), source.end(), kept_source);
    plan.each<C>(n, source.data(), [=](int64_t i, C factor) {
      const C add = static_cast<C>(b[i]);
      r[i] = static_cast<T>(factor == C(0) ? add : static_cast<C>(a[i]) * factor + add);
    });
  });
}

template <typename T>
void fused_dropout_add_grad(Context& ctx, const Tensor& seed_offset, const Tensor& out_grad, const Scalar& p,
                            bool is_test, const std::string& mode, bool /*fix_seed*/, Output& x_grad, Output& y_grad) {
  using C = Compute<T>;
  const DropoutAddPlan plan(p.real, is_test, mode);
  for (Output* output : {&x_grad, &y_grad})
    if (*output) ctx.resize(*output, out_grad.shape);
  T* dx = x_grad ? host::out<T>(ctx, x_grad) : nullptr;
  T* dy = y_grad ? host::out<T>(ctx, y_grad) : nullptr;
  const T* g = host::in<T>(out_grad);
  const int64_t* source = host::in<int64_t>(seed_offset);
  const int64_t n = out_grad.numel();
  host::launch(ctx, [=] {
    plan.each<C>(n, source, [=](int64_t i, C factor) {
      const T own = g[i];
      if (dx) dx[i] = static_cast<T>(factor == C(0) ? C(0) : static_cast<C>(own) * factor);
      if (dy) dy[i] = own;
    });
  });
}

ADAPTER_FUSED_KERNEL("fused_dropout_add", fused_dropout_add, none, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("fused_dropout_add_grad", fused_dropout_add_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
