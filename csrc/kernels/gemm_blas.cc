// GEMM by OpenBLAS (the scipy-openblas32 wheel, whose symbols carry the prefix scipy_).
#include <cblas.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "gemm.h"

namespace adapter::kernels {
namespace {

blasint checked(int64_t value) {
  if (value > std::numeric_limits<blasint>::max())
    throw std::length_error("a matrix dimension of " + std::to_string(value) + " is too large for 32-bit BLAS");
  return static_cast<blasint>(value);
}

// Handing a product to OpenBLAS's thread pool costs more than it gains while the product is small: the stream's worker
// and the program that feeds it want the cores as well. Measured with benchmarks/llama_step.py.
constexpr double kThreadedMultiplications = 1e8;

void choose_threads(double multiplications) {
  static const int all = scipy_openblas_get_num_threads();
  scipy_openblas_set_num_threads(multiplications < kThreadedMultiplications ? 1 : all);
}

CBLAS_TRANSPOSE flag(bool transpose) { return transpose ? CblasTrans : CblasNoTrans; }

void multiply(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, blasint m, blasint n, blasint k, const float* a, blasint lda,
              const float* b, blasint ldb, float beta, float* c, blasint ldc) {
  scipy_cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
}

void multiply(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, blasint m, blasint n, blasint k, const double* a, blasint lda,
              const double* b, blasint ldb, double beta, double* c, blasint ldc) {
  scipy_cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1.0, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace

// OpenBLAS has no half types: they are widened first, which is exact.
template <typename T>
std::vector<float> widened(const T* x, int64_t count) {
  return std::vector<float>(x, x + count);
}

template <typename T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, const T* b, Compute<T> beta,
          T* c) {
  if (m == 0 || n == 0) return;
  if (k == 0) {  // BLAS may leave C untouched then
    if (beta == Compute<T>(0)) std::fill(c, c + m * n, T(0));
    return;
  }
  choose_threads(static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k));
  if constexpr (is_half<T>) {
    const std::vector<float> wide_a = widened(a, m * k), wide_b = widened(b, k * n);
    std::vector<float> wide_c = beta == 0.0f ? std::vector<float>(static_cast<size_t>(m * n)) : widened(c, m * n);
    gemm<float>(transpose_a, transpose_b, m, n, k, wide_a.data(), wide_b.data(), beta, wide_c.data());
    std::copy(wide_c.begin(), wide_c.end(), c);
  } else {
    multiply(flag(transpose_a), flag(transpose_b), checked(m), checked(n), checked(k), a, checked(transpose_a ? m : k),
             b, checked(transpose_b ? k : n), beta, c, checked(n));
  }
}

template <typename T>
void gemm_tile(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
               int64_t ldb, Compute<T> beta, Compute<T>* c, int64_t ldc) {
  if constexpr (is_half<T>) {
    const std::vector<float> wide_a = widened(a, (transpose_a ? k : m) * lda);
    const std::vector<float> wide_b = widened(b, (transpose_b ? n : k) * ldb);
    gemm_tile<float>(transpose_a, transpose_b, m, n, k, wide_a.data(), lda, wide_b.data(), ldb, beta, c, ldc);
  } else {
    multiply(flag(transpose_a), flag(transpose_b), checked(m), checked(n), checked(k), a, checked(lda), b, checked(ldb),
             beta, c, checked(ldc));
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

#define ADAPTER_GEMM(T)                                                                                          \
  template void gemm(bool, bool, int64_t, int64_t, int64_t, const T*, const T*, Compute<T>, T*);                 \
  template void gemm_tile(bool, bool, int64_t, int64_t, int64_t, const T*, int64_t, const T*, int64_t, Compute<T>, \
                          Compute<T>*, int64_t);
ADAPTER_GEMM(float)
ADAPTER_GEMM(double)
ADAPTER_GEMM(float16)
ADAPTER_GEMM(bfloat16)
#undef ADAPTER_GEMM

}  // namespace adapter::kernels
