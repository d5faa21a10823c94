// Matrix products; whoever links the kernels chooses the implementation (gemm_plain.cc here; refchip brings its own).
// Half types are summed in float32 and rounded once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "adapter_sdk/half.h"

namespace adapter::kernels {

// C[m, n] = A[m, k] * B[k, n], row-major; a transposed operand is stored as [k, m] or [n, k].
// beta is 0 (C is overwritten, even where it held NaN) or 1 (added to). To be called inside launch(); may use several
// threads, with the same bits whatever their number.
template <typename T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, const T* b, Compute<T> beta,
          T* c);

// The same on the calling thread alone, for a tile of larger matrices: rows lie lda, ldb, ldc elements apart, and the
// result is not rounded to a half type. For use inside parallel_for, where a kernel makes its own tiles.
template <typename T>
void gemm_tile(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
               int64_t ldb, Compute<T> beta, Compute<T>* c, int64_t ldc);

// Exact product of int8 matrices, as gemm().
void gemm_int8(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const int8_t* a, const int8_t* b,
               int32_t* c);

}  // namespace adapter::kernels
