// Elementwise kernels, with broadcasting.
#pragma once

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/host/strided.h"

namespace adapter::host {

// out[i] = op(x[i])
template <typename In, typename Out, typename Op>
void unary(Context& ctx, const Tensor& x, Output& output, Op op) {
  Out* r = out<Out>(ctx, output);
  const In* a = in<In>(x);
  const int64_t n = x.numel();
  launch(ctx, [=] {
    parallel_for(n, kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) r[i] = op(a[i]);
    });
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
      parallel_for(n, kElementGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) r[i] = op(a[i], b[i]);
      });
    });
    return;
  }
  const Shape space = output.shape;
  const Walk<3> walk(space,
                     {contiguous_strides(space), broadcast_strides(x.shape, space), broadcast_strides(y.shape, space)});
  launch(ctx, [=] {
    const int64_t sa = walk.inner_stride(1), sb = walk.inner_stride(2);
    parallel_rows(walk, [&](const std::array<int64_t, 3>& o, int64_t n) {
      Out* rr = r + o[0];
      const In* aa = a + o[1];
      const In* bb = b + o[2];
      for (int64_t i = 0; i < n; ++i) rr[i] = op(aa[i * sa], bb[i * sb]);
    });
  });
}

}  // namespace adapter::host
