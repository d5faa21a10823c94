// The SDK's matrix products by oneDNN (float32, bfloat16, int8; float16 through float32) and by OpenBLAS (float64,
// which oneDNN does not have).
//
// A product is cut into panels of C that follow from its shape alone; each panel is computed by one thread. So the bits
// of the result do not depend on the number of threads, which no BLAS promises of its own threading.
#include <cblas.h>
#ifdef __F16C__
#include <immintrin.h>
#endif

#include <algorithm>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>

#include "adapter_sdk/error.h"
#include "adapter_sdk/host/parallel.h"
#include "gemm.h"
#include "onednn.h"

namespace adapter::kernels {
namespace {

void require(int status, const char* function) {
  if (status != 0)
    throw DeviceError(std::string("oneDNN's ") + function + " failed with status " + std::to_string(status));
}

// Memory of this thread for n floats, without values; the next call with the same `use` hands it out again. Fresh pages
// for each product would cost more than the product.
float* scratch(int use, int64_t n) {
  struct Block {
    std::unique_ptr<float[]> data;
    int64_t size = 0;
  };
  static thread_local Block blocks[3];
  Block& block = blocks[use];
  if (block.size < n) block = {std::unique_ptr<float[]>(new float[static_cast<size_t>(n)]), n};
  return block.data.get();
}

char letter(bool transpose) { return transpose ? 'T' : 'N'; }

// ---- one panel, on the calling thread -------------------------------------------------------------------------------

struct Panel {
  bool transpose_a, transpose_b;
  int64_t m, n, k, lda, ldb, ldc;
};

void multiply(const Panel& p, const float* a, const float* b, float beta, float* c) {
  require(refchip::onednn().sgemm(letter(p.transpose_a), letter(p.transpose_b), p.m, p.n, p.k, 1.0f, a, p.lda, b, p.ldb,
                                  beta, c, p.ldc),
          "sgemm");
}

void multiply(const Panel& p, const bfloat16* a, const bfloat16* b, float beta, float* c) {
  require(refchip::onednn().gemm_bf16bf16f32(letter(p.transpose_a), letter(p.transpose_b), p.m, p.n, p.k, 1.0f,
                                             reinterpret_cast<const uint16_t*>(a), p.lda,
                                             reinterpret_cast<const uint16_t*>(b), p.ldb, beta, c, p.ldc),
          "gemm_bf16bf16f32");
}

blasint checked(int64_t value) {
  if (value > std::numeric_limits<blasint>::max())
    throw std::length_error("a matrix dimension of " + std::to_string(value) + " is too large for 32-bit BLAS");
  return static_cast<blasint>(value);
}

void multiply(const Panel& p, const double* a, const double* b, double beta, double* c) {
  static const bool alone = (scipy_openblas_set_num_threads(1), true);
  static_cast<void>(alone);
  scipy_cblas_dgemm(CblasRowMajor, p.transpose_a ? CblasTrans : CblasNoTrans, p.transpose_b ? CblasTrans : CblasNoTrans,
                    checked(p.m), checked(p.n), checked(p.k), 1.0, a, checked(p.lda), b, checked(p.ldb), beta, c,
                    checked(p.ldc));
}

// `rows` x `columns` elements, packed; exact.
const float* widened(int use, const float16* x, int64_t rows, int64_t columns, int64_t stride) {
  float* wide = scratch(use, rows * columns);
  for (int64_t i = 0; i < rows; ++i) {
    const float16* row = x + i * stride;
    float* to = wide + i * columns;
    int64_t j = 0;
#ifdef __F16C__
    for (; j + 8 <= columns; j += 8)
      _mm256_storeu_ps(to + j, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + j))));
#endif
    for (; j < columns; ++j) to[j] = row[j];
  }
  return wide;
}

void multiply(const Panel& p, const float16* a, const float16* b, float beta, float* c) {
  const int64_t a_columns = p.transpose_a ? p.m : p.k, b_columns = p.transpose_b ? p.k : p.n;
  const float* wide_a = widened(1, a, p.transpose_a ? p.k : p.m, a_columns, p.lda);
  const float* wide_b = widened(2, b, p.transpose_b ? p.n : p.k, b_columns, p.ldb);
  multiply({p.transpose_a, p.transpose_b, p.m, p.n, p.k, a_columns, b_columns, p.ldc}, wide_a, wide_b, beta, c);
}

// ---- from panels to a product ---------------------------------------------------------------------------------------

// How C is cut: into strips of columns, or of rows where C is taller than wide. The operand that all strips share is
// packed again for each, so strips are wide, and few.
struct Cut {
  bool columns;
  int64_t strip;

  Cut(int64_t m, int64_t n, int64_t k) : columns(n >= m) {
    constexpr double kMultiplications = 1 << 22;  // worth waking another core
    const int64_t side = columns ? n : m, other = columns ? m : n;
    // Four rows take as long as sixteen, as if the other operand were packed for them all the same; one takes a
    // quarter.
    const int64_t counted = other == 1 ? 1 : std::max<int64_t>(other, 16);
    const auto work = static_cast<int64_t>(static_cast<double>(side) * static_cast<double>(counted) *
                                           static_cast<double>(k) / kMultiplications);
    const int64_t strips = std::clamp<int64_t>(work, 1, 8);
    strip = strips == 1 ? side : std::max<int64_t>(64, ((side + strips - 1) / strips + 63) / 64 * 64);
  }
};

// The whole product in the accumulator's type: step(panel, offsets of a, b and c) for every strip, on several cores.
template <typename Step>
void each_strip(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, Step&& step) {
  const int64_t lda = transpose_a ? m : k, ldb = transpose_b ? k : n;
  const Cut cut(m, n, k);
  host::parallel_for(cut.columns ? n : m, cut.strip, [&](int64_t begin, int64_t end) {
    Panel panel{transpose_a, transpose_b, m, n, k, lda, ldb, n};
    (cut.columns ? panel.n : panel.m) = end - begin;
    const int64_t a = cut.columns ? 0 : begin * (transpose_a ? 1 : lda);
    const int64_t b = cut.columns ? begin * (transpose_b ? ldb : 1) : 0;
    step(panel, a, b, cut.columns ? begin : begin * n);
  });
}

// C in float32, rounded to a half type, or added to it and then rounded.
template <typename T>
void store_panel(const Panel& p, const float* sum, float beta, T* c, int64_t ldc) {
  for (int64_t i = 0; i < p.m; ++i, sum += p.n, c += ldc) {
    if (beta == 0.0f)
      for (int64_t j = 0; j < p.n; ++j) c[j] = sum[j];
    else
      for (int64_t j = 0; j < p.n; ++j) c[j] = sum[j] + static_cast<float>(c[j]);
  }
}

}  // namespace

template <typename T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, const T* b, Compute<T> beta,
          T* c) {
  if (m == 0 || n == 0) return;
  if (k == 0) {  // BLAS may leave C untouched then
    if (beta == Compute<T>(0)) std::fill(c, c + m * n, T(0));
    return;
  }
  each_strip(transpose_a, transpose_b, m, n, k, [&](Panel panel, int64_t at_a, int64_t at_b, int64_t at_c) {
    if constexpr (is_half<T>) {
      float* sum = scratch(0, panel.m * panel.n);
      panel.ldc = panel.n;
      multiply(panel, a + at_a, b + at_b, 0.0f, sum);
      store_panel(panel, sum, beta, c + at_c, n);
    } else {
      multiply(panel, a + at_a, b + at_b, beta, c + at_c);
    }
  });
}

template <typename T>
void gemm_tile(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
               int64_t ldb, Compute<T> beta, Compute<T>* c, int64_t ldc) {
  multiply({transpose_a, transpose_b, m, n, k, lda, ldb, ldc}, a, b, beta, c);
}

void gemm_int8(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const int8_t* a, const int8_t* b,
               int32_t* c) {
  if (m == 0 || n == 0) return;
  if (k == 0) return std::fill(c, c + m * n, 0), void();
  // Without these instructions oneDNN adds pairs of products in 16 bits, which saturate.
  static const bool exact = __builtin_cpu_supports("avx512vnni");
  each_strip(transpose_a, transpose_b, m, n, k, [&](const Panel& p, int64_t at_a, int64_t at_b, int64_t at_c) {
    if (exact) {
      const int32_t no_offset = 0;
      require(refchip::onednn().gemm_s8s8s32(letter(p.transpose_a), letter(p.transpose_b), 'F', p.m, p.n, p.k, 1.0f,
                                             a + at_a, p.lda, 0, b + at_b, p.ldb, 0, 0.0f, c + at_c, p.ldc, &no_offset),
              "gemm_s8s8s32");
      return;
    }
    for (int64_t i = 0; i < p.m; ++i) {
      int32_t* row = c + at_c + i * p.ldc;
      std::fill(row, row + p.n, 0);
      for (int64_t q = 0; q < p.k; ++q) {
        const int32_t x = a[at_a + (p.transpose_a ? q * p.lda + i : i * p.lda + q)];
        for (int64_t j = 0; j < p.n; ++j) row[j] += x * b[at_b + (p.transpose_b ? j * p.ldb + q : q * p.ldb + j)];
      }
    }
  });
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
