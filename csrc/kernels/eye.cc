#include <algorithm>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// Ones on the main diagonal of a [rows, columns] matrix; -1 columns means square.
template <typename T>
void eye(Context& ctx, const Scalar& rows, const Scalar& columns, DType /*dtype*/, Output& out) {
  const int64_t m = rows.integer, n = columns.integer == -1 ? m : columns.integer;
  ctx.resize(out, {m, n});
  T* r = host::out<T>(ctx, out);
  host::launch(ctx, [=] {
    std::fill(r, r + m * n, T(0));
    for (int64_t i = 0; i < std::min(m, n); ++i) r[i * n + i] = T(1);
  });
}

ADAPTER_KERNEL("eye", eye, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
