// Grouped products, as a mixture of experts needs them: each stretch of rows has a matrix of its own.
#include <string>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "gemm.h"

namespace adapter::kernels {

// Group g has batch_sizes[g] rows of lhs [rows, k]. Result: lhs_g * rhs_g with rhs [groups, k, n], or [groups, n, k]
// where trans_rhs; with trans_lhs lhs_g' * rhs_g with rhs [rows, n], a matrix [k, n] for each group.
template <typename T>
void batched_gemm(Context& ctx, const Tensor& lhs, const Tensor& rhs, const std::vector<int64_t>& batch_sizes,
                  bool trans_lhs, bool trans_rhs, Output& out) {
  const auto groups = static_cast<int64_t>(batch_sizes.size());
  int64_t rows = 0;
  for (int64_t size : batch_sizes) {
    if (size < 0) throw InvalidArgument("batched_gemm: a group of " + std::to_string(size) + " rows");
    rows += size;
  }
  const Shape &l = lhs.shape, &r = rhs.shape;
  const bool fits = l.rank == 2 && l[0] == rows &&
                    (trans_lhs ? r.rank == 2 && r[0] == rows && !trans_rhs
                               : r.rank == 3 && r[0] == groups && r[trans_rhs ? 2 : 1] == l[1]);
  if (!fits)
    throw InvalidArgument("batched_gemm: lhs of shape " + to_string(l) + " and rhs of " + to_string(r) + " with " +
                          std::to_string(groups) + " groups of " + std::to_string(rows) + " rows in all" +
                          (trans_lhs ? ", lhs transposed" : "") + (trans_rhs ? ", rhs transposed" : ""));
  const int64_t k = l[1], n = trans_lhs ? r[1] : r[trans_rhs ? 1 : 2];
  ctx.resize(out, trans_lhs ? Shape{groups, k, n} : Shape{rows, n});
  T* c = host::out<T>(ctx, out);
  const T *a = host::in<T>(lhs), *b = host::in<T>(rhs);
  host::launch(ctx, [=] {
    const T *left = a, *right = b;
    T* to = c;
    for (int64_t size : batch_sizes) {
      const int64_t m = trans_lhs ? k : size, depth = trans_lhs ? size : k;
      if (depth == 0)
        fill_all(to, m * n, T(0));
      else if (m > 0 && n > 0)
        gemm<T>(trans_lhs, trans_rhs, m, n, depth, left, right, 0, to);
      left += size * k;
      right += trans_lhs ? size * n : k * n;
      to += m * n;
    }
  });
}

ADAPTER_FUSED_KERNEL("batched_gemm", batched_gemm, same, float, double, float16, bfloat16)

}  // namespace adapter::kernels
