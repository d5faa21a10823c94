// Plain loops: the oracle build, and dtypes that BLAS does not have.
#include <vector>

#include "gemm.h"

namespace adapter::kernels {

template <typename T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, const T* b, T beta, T* c) {
  std::vector<T> row(static_cast<size_t>(n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) row[static_cast<size_t>(j)] = beta == T(0) ? T(0) : c[i * n + j];
    for (int64_t p = 0; p < k; ++p) {
      const T x = transpose_a ? a[p * m + i] : a[i * k + p];
      for (int64_t j = 0; j < n; ++j) row[static_cast<size_t>(j)] += x * (transpose_b ? b[j * k + p] : b[p * n + j]);
    }
    for (int64_t j = 0; j < n; ++j) c[i * n + j] = row[static_cast<size_t>(j)];
  }
}

#ifdef ADAPTER_HOST_ONLY
template void gemm(bool, bool, int64_t, int64_t, int64_t, const float*, const float*, float, float*);
template void gemm(bool, bool, int64_t, int64_t, int64_t, const double*, const double*, double, double*);
#endif

}  // namespace adapter::kernels
