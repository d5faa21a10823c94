#include <algorithm>
#include <string>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "philox.h"

namespace adapter::kernels {

// What becomes of an element that is kept in training, and of every element otherwise.
struct DropoutScale {
  double kept = 1, tested = 1;

  DropoutScale(double p, const std::string& mode) {
    if (!(p >= 0 && p <= 1)) throw InvalidArgument("dropout: probability " + std::to_string(p) + " is outside [0, 1]");
    if (mode == "upscale_in_train")
      kept = p < 1 ? 1 / (1 - p) : 0;
    else if (mode == "downgrade_in_infer")
      tested = 1 - p;
    else
      throw InvalidArgument("dropout: mode '" + mode + "' is neither upscale_in_train nor downgrade_in_infer");
  }
};

template <typename T>
void scale_all(Context& ctx, const Tensor& x, double factor, Output& out) {
  ctx.resize(out, x.shape);
  const T* a = host::in<T>(x);
  T* r = host::out<T>(ctx, out);
  const int64_t n = x.numel();
  const auto scale = static_cast<Compute<T>>(factor);
  host::launch(ctx, [=] {
    if (r == a && factor == 1) return;
    host::parallel_for(n, host::kElementGrain, [=](int64_t begin, int64_t end) {
      host::map(a + begin, r + begin, end - begin, [=](Compute<T> v) { return v * scale; });
    });
  });
}

// mask[i] tells whether element i is kept: with probability 1 - p, to within 2^-32. A dropped element is 0 even where x
// is NaN or infinite.
template <typename T>
void drop(Context& ctx, const Tensor& x, double p, double factor, const RandomDraw& draw, Output& out, uint8_t* mask) {
  ctx.resize(out, x.shape);
  const T* a = host::in<T>(x);
  T* r = host::out<T>(ctx, out);
  const int64_t n = x.numel();
  const auto threshold = static_cast<uint64_t>(p * 0x1p32);
  const auto scale = static_cast<Compute<T>>(factor);
  host::launch(ctx, [=] {
    host::parallel_for(n, host::kElementGrain, [&](int64_t begin, int64_t end) {
      constexpr int64_t kStep = 4 * kPhiloxLanes;
      for (int64_t i = begin; i < end; i += kStep) {
        const PhiloxBlocks blocks = draw.blocks(i / 4);
        uint8_t keep[kStep];
        for (int64_t l = 0; l < kPhiloxLanes; ++l)
          for (int64_t word = 0; word < 4; ++word) keep[4 * l + word] = blocks.words[word][l] >= threshold;
        const int64_t m = std::min(kStep, end - i);
        for (int64_t j = 0; j < m; ++j) {
          const Compute<T> value = static_cast<Compute<T>>(a[i + j]) * scale;
          r[i + j] = static_cast<T>(keep[j] ? value : Compute<T>(0));
        }
        if (mask) std::memcpy(mask + i, keep, static_cast<size_t>(m));
      }
    });
  });
}

template <typename T>
void dropout(Context& ctx, const Tensor& x, const OptionalTensor& seed_tensor, const Scalar& p, bool is_test,
             const std::string& mode, int32_t seed, bool fix_seed, Output& out, Output& mask) {
  const DropoutScale scale(p.real, mode);
  if (mask) ctx.resize(mask, x.shape);
  uint8_t* kept = mask ? host::out<uint8_t>(ctx, mask) : nullptr;
  const int64_t n = x.numel();
  if (is_test) {
    if (kept) host::launch(ctx, [=] { fill_all(kept, n, uint8_t{1}); });
    return scale_all<T>(ctx, x, scale.tested, out);
  }
  const int32_t own_seed = seed_tensor ? read_scalar<int32_t>(ctx, seed_tensor) : fix_seed ? seed : 0;
  drop<T>(ctx, x, p.real, scale.kept, next_draw(ctx, own_seed), out, kept);
}

template <typename T>
void dropout_grad(Context& ctx, const Tensor& mask, const Tensor& out_grad, const Scalar& p, bool is_test,
                  const std::string& mode, Output& x_grad) {
  const DropoutScale scale(p.real, mode);
  if (is_test) return scale_all<T>(ctx, out_grad, scale.tested, x_grad);
  ctx.resize(x_grad, out_grad.shape);
  const T* g = host::in<T>(out_grad);
  const uint8_t* kept = host::in<uint8_t>(mask);
  T* r = host::out<T>(ctx, x_grad);
  const int64_t n = out_grad.numel();
  const auto factor = static_cast<Compute<T>>(scale.kept);
  host::launch(ctx, [=] {
    host::parallel_for(n, host::kElementGrain, [=](int64_t begin, int64_t end) {
      ADAPTER_INDEPENDENT
      for (int64_t i = begin; i < end; ++i) {
        const Compute<T> value = static_cast<Compute<T>>(g[i]) * factor;
        r[i] = static_cast<T>(kept[i] ? value : Compute<T>(0));
      }
    });
  });
}

ADAPTER_KERNEL("dropout", dropout, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("dropout_grad", dropout_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
