// Functions of float without branches and without tables, so that loops over them become vector instructions. Errors
// are within 3 units in the last place (erfc: 8), see tests/kernels/test_functions.py. For double the standard library
// answers.
//
// The polynomials are least-squares fits of the relative error on Chebyshev nodes, made for this file.
#pragma once

#include <cmath>
#include <cstdint>

#include "adapter_sdk/half.h"

namespace adapter::kernels {

// a * b + c, rounded once where the processor has an instruction for it.
inline float multiply_add(float a, float b, float c) {
#ifdef __FMA__
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

// value * 2^n for n in [-252, 254]; two factors, so that results below the normal numbers are reached.
inline float scaled_by_power(float value, int32_t n) {
  const int32_t first = n >> 1, second = n - first;
  const float a = adapter::detail::float_of(static_cast<uint32_t>(first + 127) << 23);
  const float b = adapter::detail::float_of(static_cast<uint32_t>(second + 127) << 23);
  return value * a * b;
}

// e^x = 2^n e^r with |r| <= log(2) / 2. Infinities, NaN and results below the normal numbers come out as they should.
inline float fast_exp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, in the lowest bits
  const float low = x < -104.0f ? -104.0f : x;
  const float y = low > 89.0f ? 89.0f : low;
  const float shifted = y * 0x1.715476p+0f + kRound;
  const float n = shifted - kRound;
  const float high = multiply_add(n, -0x1.62ep-1f, y);      // exact: the constant has 11 bits
  const float r = multiply_add(n, -0x1.0bfbe8p-15f, high);  // log(2) = 0x1.62ep-1 + 0x1.0bfbe8p-15
  float p = 0x1.6c69e8p-10f;
  p = multiply_add(p, r, 0x1.120b1ep-7f);
  p = multiply_add(p, r, 0x1.5555bap-5f);
  p = multiply_add(p, r, 0x1.5554dep-3f);
  p = multiply_add(p, r, 0.5f);
  p = 1.0f + multiply_add(r * r, p, r);
  const auto exponent = static_cast<int32_t>(adapter::detail::bits_of(shifted) - adapter::detail::bits_of(kRound));
  return scaled_by_power(p, exponent);
}

// The same for x <= 1, where e^x below the normal numbers may be 0: one multiplication less, as softmax can afford.
inline float fast_exp_of_weight(float x) {
  constexpr float kRound = 12582912.0f;
  const float shifted = x * 0x1.715476p+0f + kRound;
  const float n = shifted - kRound;
  const float high = multiply_add(n, -0x1.62ep-1f, x);
  const float r = multiply_add(n, -0x1.0bfbe8p-15f, high);
  float p = 0x1.6c69e8p-10f;
  p = multiply_add(p, r, 0x1.120b1ep-7f);
  p = multiply_add(p, r, 0x1.5555bap-5f);
  p = multiply_add(p, r, 0x1.5554dep-3f);
  p = multiply_add(p, r, 0.5f);
  p = 1.0f + multiply_add(r * r, p, r);
  const uint32_t exponent = (adapter::detail::bits_of(shifted) + (127u - adapter::detail::bits_of(kRound))) << 23;
  const float result = p * adapter::detail::float_of(exponent);
  return x < -87.0f ? 0.0f : result;  // a NaN passes
}

inline float exp_of(float x) { return fast_exp(x); }
inline double exp_of(double x) { return std::exp(x); }

// 1 / (1 + e^-x) without overflow and without losing the small values: e^-|x| over 1 + e^-|x| for negative x.
inline float logistic_of(float x) {
  const float e = fast_exp(x < 0 ? x : -x);
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}
inline double logistic_of(double x) {
  const double e = std::exp(x < 0 ? x : -x);
  return (x < 0 ? e : 1.0) / (1.0 + e);
}

// Near 0 an odd polynomial, further out 1 - 2 / (e^2|x| + 1).
inline float tanh_of(float x) {
  const float size = x < 0 ? -x : x, z = x * x;
  float p = -0x1.8f95dap-8f;
  p = multiply_add(p, z, 0x1.580636p-6f);
  p = multiply_add(p, z, -0x1.b925c4p-5f);
  p = multiply_add(p, z, 0x1.110e1ep-3f);
  p = multiply_add(p, z, -0x1.555552p-2f);
  const float near = multiply_add(x * z, p, x);
  const float far = 1.0f - 2.0f / (fast_exp(2.0f * size) + 1.0f);
  return size < 0x1p-13f ? x : size < 0.625f ? near : x < 0 ? -far : far;  // the first keeps the sign of zero
}
inline double tanh_of(double x) { return std::tanh(x); }

// erfc(x) for x >= 0: e^(-x^2) times a polynomial in t = 1 / (1 + 0.375 x). x^2 is rounded in two parts: what is lost
// of it counts x^2 times.
inline float positive_erfc(float x) {
  const float t = 1.0f / (1.0f + 0.375f * x);
  float p = 0x1.f3afd4p-5f;
  p = multiply_add(p, t, -0x1.239c34p-2f);
  p = multiply_add(p, t, 0x1.b5884ep-2f);
  p = multiply_add(p, t, -0x1.ca316ap-3f);
  p = multiply_add(p, t, 0x1.1462b4p-2f);
  p = multiply_add(p, t, 0x1.f82a88p-4f);
  p = multiply_add(p, t, 0x1.a3ac52p-3f);
  p = multiply_add(p, t, 0x1.af857cp-3f);
  p = multiply_add(p, t, 0x1.b160c4p-3f);
  const float size = x > 11.0f ? 11.0f : x;  // far enough for 0; a NaN passes
  const float head = adapter::detail::float_of(adapter::detail::bits_of(size) & 0xfffff000u);
  const float rest = (size - head) * (size + head);  // of x^2: head^2 is exact
  const float correction = 1.0f - rest * (1.0f - rest * (0.5f - rest * (0x1.555556p-3f - rest * 0x1.555556p-5f)));
  return fast_exp(-head * head) * correction * (t * p);
}

// erf(x) for |x| < 0.85
inline float near_erf(float x) {
  const float z = x * x;
  float p = -0x1.3f51ccp-11f;
  p = multiply_add(p, z, 0x1.487772p-8f);
  p = multiply_add(p, z, -0x1.b6bf06p-6f);
  p = multiply_add(p, z, 0x1.ce1dd6p-4f);
  p = multiply_add(p, z, -0x1.8126fap-2f);
  p = multiply_add(p, z, 0x1.20dd74p+0f);
  return x * p;
}

inline float erfc_of(float x) {
  const float size = x < 0 ? -x : x, far = positive_erfc(size);
  return size < 0.5f ? 1.0f - near_erf(x) : x < 0 ? 2.0f - far : far;
}
inline double erfc_of(double x) { return std::erfc(x); }

}  // namespace adapter::kernels
