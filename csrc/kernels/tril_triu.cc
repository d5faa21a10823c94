// Triangular parts of the last two axes.
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/loops.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
void triangle(Context& ctx, const Tensor& x, int32_t diagonal, bool lower, Output& out) {
  if (x.shape.rank < 2) throw InvalidArgument("a triangle of a tensor of rank " + std::to_string(x.shape.rank));
  const int64_t columns = x.shape[x.shape.rank - 1], rows = x.shape[x.shape.rank - 2];
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const int64_t count = x.shape.product(0, x.shape.rank - 1);
  host::launch(ctx, [=] {
    host::parallel_for(count, host::rows_grain(columns), [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        // Columns [0, border) lie on the diagonal asked for or left of it (triu: left of it).
        const int64_t border = std::clamp<int64_t>(i % rows + diagonal + (lower ? 1 : 0), 0, columns);
        const T* from = a + i * columns;
        T* to = r + i * columns;
        const int64_t first = lower ? 0 : border, last = lower ? border : columns;
        if (to != from) std::copy(from + first, from + last, to + first);
        std::fill(to, to + first, T(0));
        std::fill(to + last, to + columns, T(0));
      }
    });
  });
}

template <typename T>
void tril(Context& ctx, const Tensor& x, int32_t diagonal, Output& out) {
  triangle<T>(ctx, x, diagonal, true, out);
}

template <typename T>
void triu(Context& ctx, const Tensor& x, int32_t diagonal, Output& out) {
  triangle<T>(ctx, x, diagonal, false, out);
}

template <typename T>
void tril_triu(Context& ctx, const Tensor& x, int32_t diagonal, bool lower, Output& out) {
  triangle<T>(ctx, x, diagonal, lower, out);
}

ADAPTER_KERNEL("tril", tril, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t, int8_t, bool)
ADAPTER_KERNEL("triu", triu, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t, int8_t, bool)
ADAPTER_KERNEL("tril_triu", tril_triu, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t, int8_t, bool)
// The gradient of a masked copy is the same masked copy.
ADAPTER_KERNEL("tril_grad", tril, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("triu_grad", triu, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
