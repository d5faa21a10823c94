// Elementwise kernels, with broadcasting.
#pragma once

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/loops.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/host/strided.h"

namespace adapter::host {

namespace elementwise_detail {

template <typename In, typename Out, typename Op>
ADAPTER_INLINE void map_here(const In* a, Out* r, int64_t n, Op op) {
  if constexpr (is_staged<In> || is_staged<Out>) {
    Compute<In> x[kStage];
    Compute<Out> y[kStage];
    for (int64_t i = 0; i < n; i += kStage) {
      const int64_t m = std::min(kStage, n - i);
      widen(a + i, 1, x, m);
      ADAPTER_INDEPENDENT
      for (int64_t j = 0; j < m; ++j) y[j] = static_cast<Compute<Out>>(op(x[j]));
      narrow(y, r + i, 1, m);
    }
  } else {
    ADAPTER_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) r[i] = static_cast<Out>(op(static_cast<Compute<In>>(a[i])));
  }
}

template <typename In, typename Out, typename Op>
ADAPTER_INLINE void map_here(const In* a, const In* b, Out* r, int64_t n, Op op) {
  using C = Compute<In>;
  if constexpr (is_staged<In> || is_staged<Out>) {
    C x[kStage], y[kStage];
    Compute<Out> z[kStage];
    for (int64_t i = 0; i < n; i += kStage) {
      const int64_t m = std::min(kStage, n - i);
      widen(a + i, 1, x, m);
      widen(b + i, 1, y, m);
      ADAPTER_INDEPENDENT
      for (int64_t j = 0; j < m; ++j) z[j] = static_cast<Compute<Out>>(op(x[j], y[j]));
      narrow(z, r + i, 1, m);
    }
  } else {
    ADAPTER_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) r[i] = static_cast<Out>(op(static_cast<C>(a[i]), static_cast<C>(b[i])));
  }
}

template <typename In, typename Out, typename Op>
ADAPTER_WIDE_VECTORS void map_wide(const In* a, Out* r, int64_t n, Op op) {
  map_here(a, r, n, op);
}

template <typename In, typename Out, typename Op>
ADAPTER_WIDE_VECTORS void map_wide(const In* a, const In* b, Out* r, int64_t n, Op op) {
  map_here(a, b, r, n, op);
}

// Whole numbers and comparisons wait for memory anyway: a second version of them would only cost compile time.
template <typename In, typename Out>
inline constexpr bool is_wide = is_floating<In> && is_floating<Out>;

}  // namespace elementwise_detail

// r[i] = op(a[i]); `op` takes Compute<In>, so that half types are computed in float and rounded once.
template <typename In, typename Out, typename Op>
ADAPTER_NOINLINE void map(const In* a, Out* r, int64_t n, Op op) {
  if constexpr (elementwise_detail::is_wide<In, Out>)
    elementwise_detail::map_wide(a, r, n, op);
  else
    elementwise_detail::map_here(a, r, n, op);
}

// r[i] = op(a[i], b[i])
template <typename In, typename Out, typename Op>
ADAPTER_NOINLINE void map(const In* a, const In* b, Out* r, int64_t n, Op op) {
  if constexpr (elementwise_detail::is_wide<In, Out>)
    elementwise_detail::map_wide(a, b, r, n, op);
  else
    elementwise_detail::map_here(a, b, r, n, op);
}

// The next elements of an operand with a stride, side by side: where they lie, or copied into `stage`.
template <typename T>
const T* lined_up(const T* from, int64_t stride, int64_t n, T* stage) {
  if (stride == 1) return from;
  for (int64_t i = 0; i < n; ++i) stage[i] = from[i * stride];
  return stage;
}

// r[i] = op(a[i * sa], b[i * sb]). One loop serves all strides, or every kernel would be compiled several times.
template <typename In, typename Out, typename Op>
void map_strided(const In* a, int64_t sa, const In* b, int64_t sb, Out* r, int64_t n, Op op) {
  In x[kStage], y[kStage];
  if (sa == 1 && sb == 1) return map(a, b, r, n, op);
  for (int64_t i = 0; i < n; i += kStage) {
    const int64_t m = std::min(kStage, n - i);
    const In* left = sa == 0 && i > 0 ? x : lined_up(a + i * sa, sa, m, x);  // one element broadcast is copied once
    const In* right = sb == 0 && i > 0 ? y : lined_up(b + i * sb, sb, m, y);
    map(left, right, r + i, m, op);
  }
}

// out[i] = op(x[i])
template <typename In, typename Out, typename Op>
void unary(Context& ctx, const Tensor& x, Output& output, Op op) {
  Out* r = out<Out>(ctx, output);
  const In* a = in<In>(x);
  const int64_t n = x.numel();
  // In place into a narrower type, element i lies where another element was: front to back, on one core.
  const bool shifted = sizeof(In) != sizeof(Out) && static_cast<const void*>(a) == r;
  launch(ctx, [=] {
    parallel_for(n, shifted ? n : kElementGrain,
                 [&](int64_t begin, int64_t end) { map(a + begin, r + begin, end - begin, op); });
  });
}

// out[i] = op(x[i], y[i]) with NumPy broadcasting. In place (out is x) is fine.
template <typename In, typename Out, typename Op>
void binary(Context& ctx, const Tensor& x, const Tensor& y, Output& output, Op op) {
  if (!output.shape.known()) ctx.resize(output, broadcast_shape(x.shape, y.shape));
  Out* r = out<Out>(ctx, output);
  const In* a = in<In>(x);
  const In* b = in<In>(y);
  if (x.shape == y.shape) {
    const int64_t n = x.numel();
    launch(ctx, [=] {
      parallel_for(n, kElementGrain,
                   [&](int64_t begin, int64_t end) { map(a + begin, b + begin, r + begin, end - begin, op); });
    });
    return;
  }
  const Shape space = output.shape;
  const Walk<3> walk(space,
                     {contiguous_strides(space), broadcast_strides(x.shape, space), broadcast_strides(y.shape, space)});
  launch(ctx, [=] {
    const int64_t sa = walk.inner_stride(1), sb = walk.inner_stride(2);
    parallel_rows(walk, [&](const std::array<int64_t, 3>& o, int64_t n) {
      map_strided(a + o[1], sa, b + o[2], sb, r + o[0], n, op);
    });
  });
}

}  // namespace adapter::host
