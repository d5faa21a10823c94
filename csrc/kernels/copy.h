// Kernels that move elements without computing: everything is a walk over two strided arrays.
#pragma once

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/strided.h"

namespace adapter::kernels {

// dst[walk operand 0] = src[walk operand 1]
template <typename T>
void copy_rows(const host::Walk<2>& walk, T* dst, const T* src) {
  const int64_t sd = walk.inner_stride(0), ss = walk.inner_stride(1);
  walk.rows([&](const std::array<int64_t, 2>& o, int64_t n) {
    T* d = dst + o[0];
    const T* s = src + o[1];
    for (int64_t i = 0; i < n; ++i) d[i * sd] = s[i * ss];
  });
}

// Fills a contiguous output, read over its index space from `x` at `offset` with `strides` (elements).
template <typename T>
void gather_strided(Context& ctx, const Tensor& x, const Shape& strides, int64_t offset, Output& output) {
  const Shape space = output.shape;
  T* r = host::out<T>(ctx, output);
  const T* a = host::in<T>(x);
  const host::Walk<2> walk(space, {host::contiguous_strides(space), strides});
  host::launch(ctx, [=] { copy_rows(walk, r, a + offset); });
}

}  // namespace adapter::kernels
