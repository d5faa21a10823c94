// Loops that a compiler can turn into vector instructions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "adapter_sdk/half.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

// Before a loop whose iterations do not depend on each other, even where its result lies in an operand's storage.
#if defined(__clang__)
#define ADAPTER_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define ADAPTER_INDEPENDENT _Pragma("GCC ivdep")
#else
#define ADAPTER_INDEPENDENT
#endif

// A loop that several callers share is compiled once.
#if defined(__GNUC__)
#define ADAPTER_NOINLINE __attribute__((noinline))
#else
#define ADAPTER_NOINLINE
#endif

// A loop that is part of each of its callers, which may be compiled for different processors.
#if defined(__GNUC__)
#define ADAPTER_INLINE inline __attribute__((always_inline))
#else
#define ADAPTER_INLINE inline
#endif

// Compiled a second time for 512-bit vectors, chosen at load; oracles do without. No result may depend on the width.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(ADAPTER_HOST_ONLY)
#define ADAPTER_WIDE_VECTORS __attribute__((target_clones("avx512f", "default")))
#else
#define ADAPTER_WIDE_VECTORS
#endif

namespace adapter::host {

// Elements that are converted together where a type has to be widened in a buffer of its own.
inline constexpr int64_t kStage = 256;

// Half types: float16 has instructions that compilers do not find by themselves, and a loop that computes in float is
// twice as fast between loops that convert as with the conversions inside.
template <typename T>
inline constexpr bool is_staged = is_half<T>;

// to[i] = from[i] in the type of intermediates, element i at from[i * step].
template <typename T>
void widen(const T* from, int64_t step, Compute<T>* to, int64_t n) {
  int64_t i = 0;
#ifdef __F16C__
  if constexpr (std::is_same_v<T, float16>)
    if (step == 1)
      for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
#endif
  if (step == 1) {
    ADAPTER_INDEPENDENT
    for (; i < n; ++i) to[i] = static_cast<Compute<T>>(from[i]);
    return;
  }
  for (; i < n; ++i) to[i] = static_cast<Compute<T>>(from[i * step]);
}

// The way back, rounded once.
template <typename T>
void narrow(const Compute<T>* from, T* to, int64_t step, int64_t n) {
  int64_t i = 0;
#ifdef __F16C__
  if constexpr (std::is_same_v<T, float16>)
    if (step == 1)
      for (; i + 8 <= n; i += 8)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
#endif
  if (step == 1) {
    ADAPTER_INDEPENDENT
    for (; i < n; ++i) to[i] = static_cast<T>(from[i]);
    return;
  }
  for (; i < n; ++i) to[i * step] = static_cast<T>(from[i]);
}

}  // namespace adapter::host
