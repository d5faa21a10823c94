#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "rows.h"

namespace adapter::kernels {

// Rows of x named by `index` are replaced: by the last update that names them, or, with overwrite off, by the sum of
// all their updates.
template <typename T>
void scatter(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& updates, bool overwrite, Output& out) {
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const T* u = host::in<T>(updates);
  const int64_t count = index.numel(), size = x.numel();
  visit_index(index, [&](const auto* numbers) {
    host::launch(ctx, [=, tables = Tables(x.shape, 0)] {
      const std::vector<int64_t> rows = checked_rows("scatter", numbers, count, tables.length);
      copy_all(r, a, size);
      if (!overwrite) return sum_rows(tables, rows, u, r);
      const int64_t n = tables.inner;
      for (int64_t i = 0; i < count; ++i) std::copy(u + i * n, u + (i + 1) * n, r + rows[static_cast<size_t>(i)] * n);
    });
  });
}

// x_grad is out_grad with the replaced rows cleared, updates_grad the rows of out_grad that the updates went to.
template <typename T>
void scatter_grad(Context& ctx, const Tensor& index, const Tensor& updates, const Tensor& out_grad, bool /*overwrite*/,
                  Output& x_grad, Output& updates_grad) {
  const T* g = host::in<T>(out_grad);
  const int64_t count = index.numel(), size = out_grad.numel();
  const Tables tables(out_grad.shape, 0);
  visit_index(index, [&](const auto* numbers) {
    if (updates_grad) {
      ctx.resize(updates_grad, updates.shape);
      T* du = host::out<T>(ctx, updates_grad);
      host::launch(ctx, [=] { take_rows(tables, checked_rows("scatter", numbers, count, tables.length), g, du); });
    }
    if (!x_grad) return;
    ctx.resize(x_grad, out_grad.shape);  // last: it may share the storage of out_grad
    T* dx = host::out<T>(ctx, x_grad);
    host::launch(ctx, [=] {
      copy_all(dx, g, size);
      for (int64_t row : checked_rows("scatter", numbers, count, tables.length))
        std::fill(dx + row * tables.inner, dx + (row + 1) * tables.inner, T(0));
    });
  });
}

ADAPTER_KERNEL("scatter", scatter, wide, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("scatter_grad", scatter_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
