// softmax(x + mask) over the last axis, and softmax over the lower triangle: the masked scores are never stored.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/fold.h"
#include "adapter_sdk/kernel.h"
#include "dispatch.h"
#include "fast_exp.h"

namespace adapter::kernels {

template <typename C>
struct LargestScore {
  using State = C;
  State start() const { return -std::numeric_limits<C>::infinity(); }
  State step(State peak, C value) const { return value > peak ? value : peak; }
  State merge(State a, State b) const { return step(a, b); }
};

// Replaces n scores by their softmax. A row without any finite score becomes NaN.
template <typename T>
void softmax_in_stage(Compute<T>* y, int64_t n) {
  using C = Compute<T>;
  host::Lanes<LargestScore<C>> largest{LargestScore<C>{}};
  largest.add(n, [=](int64_t j) { return y[j]; });
  const C peak = largest.result();
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) y[j] = exp_of(y[j] - peak);
  host::Lanes<host::SumFold<Accumulator<T>>> sum{host::SumFold<Accumulator<T>>{}};
  sum.add(n, [=](int64_t j) { return y[j]; });
  const C factor = static_cast<C>(1 / sum.result());
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) y[j] *= factor;
}

// How the rows of a mask are found from those of x: heads, or whole batch entries, may share one.
struct MaskRows {
  int64_t heads, height, batch_step, head_step;

  // x is [batch, heads, height, width]; the mask has 1 or as many batch entries and heads. Throws InvalidArgument.
  MaskRows(const Shape& x, const Shape& mask) {
    const auto shared_or_own = [&](int axis) { return mask[axis] == 1 || mask[axis] == x[axis]; };
    if (x.rank != 4 || mask.rank != 4 || !shared_or_own(0) || !shared_or_own(1) || mask[2] != x[2] || mask[3] != x[3])
      throw InvalidArgument("fused_softmax_mask: a mask of shape " + to_string(mask) + " for scores of " +
                            to_string(x));
    heads = x[1], height = x[2];
    head_step = mask[1] == 1 ? 0 : height;
    batch_step = mask[0] == 1 ? 0 : mask[1] * height;
  }
  int64_t operator()(int64_t row) const {
    const int64_t plane = row / height;
    return plane / heads * batch_step + plane % heads * head_step + row % height;
  }
};

template <typename T>
void fused_softmax_mask(Context& ctx, const Tensor& x, const Tensor& mask, Output& out) {
  using C = Compute<T>;
  const MaskRows mask_row(x.shape, mask.shape);
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const int64_t n = x.shape[3], rows = x.shape.product(0, 3);
  visit_dtype<T, std::conditional_t<is_half<T>, float, float16>>(mask.dtype, "a mask", [&](auto tag) {
    const auto* m = host::in<typename decltype(tag)::type>(mask);
    host::launch(ctx, [=] {
      host::parallel_for(rows, host::rows_grain(n), [&](int64_t begin, int64_t end) {
        std::vector<C> stage(static_cast<size_t>(n));
        for (int64_t i = begin; i < end; ++i) {
          const auto* own = m + mask_row(i) * n;
          host::widen(a + i * n, 1, stage.data(), n);
          for (int64_t j = 0; j < n; ++j) stage[static_cast<size_t>(j)] += static_cast<C>(own[j]);
          softmax_in_stage<T>(stage.data(), n);
          host::narrow(stage.data(), r + i * n, 1, n);
        }
      });
    });
  });
}

template <typename T>
void fused_softmax_mask_upper_triangle(Context& ctx, const Tensor& x, Output& out) {
  using C = Compute<T>;
  if (x.shape.rank != 4 || x.shape[2] != x.shape[3])
    throw InvalidArgument("fused_softmax_mask_upper_triangle of scores of shape " + to_string(x.shape) +
                          ", not [batch, heads, length, length]");
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const int64_t n = x.shape[3], rows = x.shape.product(0, 3);
  host::launch(ctx, [=] {
    host::parallel_for(rows, host::rows_grain(n), [&](int64_t begin, int64_t end) {
      std::vector<C> stage(static_cast<size_t>(n));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t seen = i % n + 1;
        host::widen(a + i * n, 1, stage.data(), seen);
        softmax_in_stage<T>(stage.data(), seen);
        host::narrow(stage.data(), r + i * n, 1, seen);
        std::fill(r + i * n + seen, r + (i + 1) * n, T(0));
      }
    });
  });
}

// x_grad = out * (out_grad - sum(out * out_grad)); the mask has no gradient, and what was masked has none either.
template <typename T>
void fused_softmax_mask_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, Output& x_grad) {
  using C = Compute<T>;
  using Sum = Accumulator<T>;
  ctx.resize(x_grad, out.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T *y = host::in<T>(out), *g = host::in<T>(out_grad);
  const int64_t n = out.shape[out.shape.rank - 1], rows = out.shape.product(0, out.shape.rank - 1);
  host::launch(ctx, [=] {
    host::parallel_for(rows, host::rows_grain(n), [&](int64_t begin, int64_t end) {
      std::vector<C> stage(static_cast<size_t>(2 * n));
      C *p = stage.data(), *d = p + n;
      for (int64_t i = begin; i < end; ++i) {
        host::widen(y + i * n, 1, p, n);
        host::widen(g + i * n, 1, d, n);
        host::Lanes<host::SumFold<Sum>> lanes{host::SumFold<Sum>{}};
        lanes.add(n, [=](int64_t j) { return static_cast<Sum>(p[j]) * static_cast<Sum>(d[j]); });
        const Sum dot = lanes.result();
        ADAPTER_INDEPENDENT
        for (int64_t j = 0; j < n; ++j) d[j] = static_cast<C>(static_cast<Sum>(p[j]) * (static_cast<Sum>(d[j]) - dot));
        host::narrow(d, r + i * n, 1, n);
      }
    });
  });
}

ADAPTER_FUSED_KERNEL("fused_softmax_mask", fused_softmax_mask, wide, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("fused_softmax_mask_grad", fused_softmax_mask_grad, wide, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("fused_softmax_mask_upper_triangle", fused_softmax_mask_upper_triangle, wide, float, double,
                     float16, bfloat16)
ADAPTER_FUSED_KERNEL("fused_softmax_mask_upper_triangle_grad", fused_softmax_mask_grad, wide, float, double, float16,
                     bfloat16)

}  // namespace adapter::kernels
