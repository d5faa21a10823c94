// GEMM by OpenBLAS (the scipy-openblas32 wheel, whose symbols carry the prefix scipy_).
#include <cblas.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

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
              const float* b, blasint ldb, float beta, float* c) {
  scipy_cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1.0f, a, lda, b, ldb, beta, c, n);
}

void multiply(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, blasint m, blasint n, blasint k, const double* a, blasint lda,
              const double* b, blasint ldb, double beta, double* c) {
  scipy_cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1.0, a, lda, b, ldb, beta, c, n);
}

}  // namespace

template <typename T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, const T* b, T beta, T* c) {
  if (m == 0 || n == 0) return;
  if (k == 0) {  // BLAS may leave C untouched then
    if (beta == T(0)) std::fill(c, c + m * n, T(0));
    return;
  }
  choose_threads(static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k));
  multiply(flag(transpose_a), flag(transpose_b), checked(m), checked(n), checked(k), a, checked(transpose_a ? m : k), b,
           checked(transpose_b ? k : n), beta, c);
}

template void gemm(bool, bool, int64_t, int64_t, int64_t, const float*, const float*, float, float*);
template void gemm(bool, bool, int64_t, int64_t, int64_t, const double*, const double*, double, double*);

}  // namespace adapter::kernels
