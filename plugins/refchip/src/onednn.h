// oneDNN's GEMM functions, from the library of its PyPI wheel and no other.
//
// Paddle brings a oneDNN of its own under the same SONAME, and the loader would give us that one for a DT_NEEDED entry.
// So ours is opened by its path; a path is never matched against the SONAME of what is loaded already.
#pragma once

#include <cstdint>

namespace refchip {

struct OneDnn {
  // As declared in oneDNN's dnnl.h: C = alpha op(A) op(B) + beta C, row-major. Zero is success.
  using Sgemm = int (*)(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
                        int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc);
  using Bf16Gemm = int (*)(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const uint16_t* a,
                           int64_t lda, const uint16_t* b, int64_t ldb, float beta, float* c, int64_t ldc);
  using Int8Gemm = int (*)(char transa, char transb, char offsetc, int64_t m, int64_t n, int64_t k, float alpha,
                           const int8_t* a, int64_t lda, int8_t ao, const int8_t* b, int64_t ldb, int8_t bo, float beta,
                           int32_t* c, int64_t ldc, const int32_t* co);
  Sgemm sgemm;
  Bf16Gemm gemm_bf16bf16f32;
  Int8Gemm gemm_s8s8s32;
  void (*set_threads)(int);  // OpenMP's, of the runtime that this oneDNN uses; per calling thread
};

// Opened at the first call. Throws adapter::DeviceError when the library is missing, lacks a function or is another
// version. Every calling thread gets a oneDNN that computes on that thread alone.
const OneDnn& onednn();

}  // namespace refchip
