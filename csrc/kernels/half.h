// The 16-bit floating types as results of a conversion. Kernels do not compute in them.
#pragma once

#include <cmath>
#include <cstdint>

#include "adapter_sdk/dtype.h"

namespace adapter::kernels {

// `value` rounded to nearest, ties to even, in a binary format of IEEE 754's make with these many mantissa and exponent
// bits: infinite beyond the largest number, gradually less precise below the smallest normal one.
template <int kMantissa, int kExponent>
uint16_t narrowed(double value) {
  constexpr int kBias = (1 << (kExponent - 1)) - 1;
  constexpr int kInfinity = ((1 << kExponent) - 1) << kMantissa;
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | kInfinity | (1 << (kMantissa - 1)));
  const double size = std::fabs(value);
  if (size >= std::ldexp(1.0, kBias + 1)) return static_cast<uint16_t>(sign | kInfinity);
  int exponent = 1 - kBias;  // of subnormal numbers and zero
  if (size >= std::ldexp(1.0, exponent)) exponent = std::ilogb(size);
  // A normal number's leading bit is part of `units` and raises the exponent field by one; so does a carry.
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(size, kMantissa - exponent)));
  return static_cast<uint16_t>(sign | (((exponent + kBias - 1) << kMantissa) + units));
}

// IEEE 754 binary16. Other types convert through float, as Paddle's own half types do (phi/common/float16.h).
struct Half {
  Half() = default;
  template <typename T>
  explicit Half(T value) : bits(narrowed<10, 5>(static_cast<float>(value))) {}
  uint16_t bits;
};

struct BFloat16 {
  BFloat16() = default;
  template <typename T>
  explicit BFloat16(T value) : bits(narrowed<7, 8>(static_cast<float>(value))) {}
  uint16_t bits;
};

}  // namespace adapter::kernels

namespace adapter {

template <>
struct DTypeOf<kernels::Half> {
  static constexpr DType dtype = DType::float16;
};

template <>
struct DTypeOf<kernels::BFloat16> {
  static constexpr DType dtype = DType::bfloat16;
};

}  // namespace adapter
