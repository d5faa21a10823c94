// Plain loops: the oracle build, and plugins that bring no BLAS.
#include <algorithm>
#include <vector>

#include "accumulate.h"
#include "gemm.h"

namespace adapter::kernels {

template <typename T>
void gemm_tile(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
               int64_t ldb, Compute<T> beta, Compute<T>* c, int64_t ldc) {
  using C = Compute<T>;
  std::vector<C> row(static_cast<size_t>(n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) row[static_cast<size_t>(j)] = beta == C(0) ? C(0) : c[i * ldc + j];
    for (int64_t p = 0; p < k; ++p) {
      const C x = transpose_a ? a[p * lda + i] : a[i * lda + p];
      for (int64_t j = 0; j < n; ++j)
        row[static_cast<size_t>(j)] += x * static_cast<C>(transpose_b ? b[j * ldb + p] : b[p * ldb + j]);
    }
    std::copy(row.begin(), row.end(), c + i * ldc);
  }
}

template <typename T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, const T* b, Compute<T> beta,
          T* c) {
  using C = Compute<T>;
  const int64_t lda = transpose_a ? m : k, ldb = transpose_b ? k : n;
  std::vector<C> row(static_cast<size_t>(n));
  for (int64_t i = 0; i < m; ++i, c += n) {
    std::copy(c, c + n, row.begin());
    gemm_tile(transpose_a, transpose_b, 1, n, k, transpose_a ? a + i : a + i * lda, lda, b, ldb, beta, row.data(), n);
    std::copy(row.begin(), row.end(), c);
  }
}

void gemm_int8(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const int8_t* a, const int8_t* b,
               int32_t* c) {
  for (int64_t i = 0; i < m; ++i, c += n) {
    std::fill(c, c + n, 0);
    for (int64_t p = 0; p < k; ++p) {
      const int32_t x = transpose_a ? a[p * m + i] : a[i * k + p];
      for (int64_t j = 0; j < n; ++j) c[j] += x * (transpose_b ? b[j * k + p] : b[p * n + j]);
    }
  }
}

#define ADAPTER_GEMM(T)                                                                                            \
  template void gemm(bool, bool, int64_t, int64_t, int64_t, const T*, const T*, Compute<T>, T*);                   \
  template void gemm_tile(bool, bool, int64_t, int64_t, int64_t, const T*, int64_t, const T*, int64_t, Compute<T>, \
                          Compute<T>*, int64_t);
ADAPTER_GEMM(float)
ADAPTER_GEMM(double)
ADAPTER_GEMM(float16)
ADAPTER_GEMM(bfloat16)
#undef ADAPTER_GEMM

}  // namespace adapter::kernels
