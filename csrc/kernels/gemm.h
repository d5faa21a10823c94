// Matrix product; whoever links the kernels chooses the implementation (gemm_blas.cc, gemm_plain.cc).
#pragma once

#include <cstddef>
#include <cstdint>

namespace adapter::kernels {

// C[m, n] = A[m, k] * B[k, n], row-major; a transposed operand is stored as [k, m] or [n, k].
// beta is 0 (C is overwritten, even where it held NaN) or 1 (added to).
template <typename T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, const T* b, T beta, T* c);

}  // namespace adapter::kernels
