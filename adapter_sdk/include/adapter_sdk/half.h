// The 16-bit floating types. They store; arithmetic on them happens in float, because every operator of C++ converts
// them first. What a kernel computes in float is rounded once, where it is stored.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "adapter_sdk/dtype.h"

namespace adapter {

namespace detail {

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Round to nearest, ties to even; a NaN stays a NaN. Free of branches, so that loops vectorise.
inline uint16_t bfloat16_bits(float value) {
  const uint32_t bits = bits_of(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

inline float float_of_bfloat16(uint16_t bits) { return float_of(static_cast<uint32_t>(bits) << 16); }

#ifdef __F16C__
inline uint16_t float16_bits(float value) {
  const _Float16 narrow = static_cast<_Float16>(value);
  uint16_t bits;
  std::memcpy(&bits, &narrow, sizeof bits);
  return bits;
}

inline float float_of_float16(uint16_t bits) {
  _Float16 narrow;
  std::memcpy(&narrow, &bits, sizeof narrow);
  return static_cast<float>(narrow);
}
#else
// Adding a power of two whose last place is the wanted one lets the processor round, subnormal results included.
inline uint16_t float16_bits(float value) {
  const uint32_t bits = bits_of(value), size = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
  if (size > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((size >> 13) & 0x3ffu));
  if (size >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and more round to infinity
  if (size < 0x38800000u) {                                               // below the smallest normal number, 2^-14
    const float shifted = float_of(size) + 0.5f;                          // 0.5 has the last place 2^-24
    return static_cast<uint16_t>(sign | (bits_of(shifted) - bits_of(0.5f)));
  }
  const uint32_t rounded = size + 0xfffu + ((size >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

inline float float_of_float16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, size = half & 0x7fffu;
  if (size >= 0x7c00u) return float_of(sign | 0x7f800000u | ((size & 0x3ffu) << 13));
  if (size >= 0x400u) return float_of(sign | ((size << 13) + 0x38000000u));
  return float_of(sign | bits_of(static_cast<float>(size) * 0x1p-24f));
}
#endif

}  // namespace detail

// IEEE 754 binary16.
struct float16 {
  uint16_t bits;

  float16() = default;
  // Any other number comes through float, as in Paddle's own half types (phi/common/float16.h).
  template <typename T, typename = std::enable_if_t<std::is_convertible_v<T, float>>>
  float16(T value) : bits(detail::float16_bits(static_cast<float>(value))) {}  // NOLINT: implicit as for built-in types
  operator float() const { return detail::float_of_float16(bits); }            // NOLINT
  float16& operator+=(float other) { return *this = float16(static_cast<float>(*this) + other); }
  float16& operator-=(float other) { return *this = float16(static_cast<float>(*this) - other); }
  float16& operator*=(float other) { return *this = float16(static_cast<float>(*this) * other); }
  float16& operator/=(float other) { return *this = float16(static_cast<float>(*this) / other); }
};

// The upper half of a float32.
struct bfloat16 {
  uint16_t bits;

  bfloat16() = default;
  template <typename T, typename = std::enable_if_t<std::is_convertible_v<T, float>>>
  bfloat16(T value) : bits(detail::bfloat16_bits(static_cast<float>(value))) {}  // NOLINT
  operator float() const { return detail::float_of_bfloat16(bits); }             // NOLINT
  bfloat16& operator+=(float other) { return *this = bfloat16(static_cast<float>(*this) + other); }
  bfloat16& operator-=(float other) { return *this = bfloat16(static_cast<float>(*this) - other); }
  bfloat16& operator*=(float other) { return *this = bfloat16(static_cast<float>(*this) * other); }
  bfloat16& operator/=(float other) { return *this = bfloat16(static_cast<float>(*this) / other); }
};

template <>
struct DTypeOf<float16> {
  static constexpr DType dtype = DType::float16;
};
template <>
struct DTypeOf<bfloat16> {
  static constexpr DType dtype = DType::bfloat16;
};

template <typename T>
inline constexpr bool is_half = std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>;

// The standard's is_floating_point does not know the half types.
template <typename T>
inline constexpr bool is_floating = std::is_floating_point_v<T> || is_half<T>;

// The type in which a kernel of storage type T computes one element: float for half types, T itself otherwise.
template <typename T>
using Compute = std::conditional_t<is_half<T>, float, T>;

}  // namespace adapter

template <>
class std::numeric_limits<adapter::float16> {
 public:
  static constexpr bool is_specialized = true, is_signed = true, is_integer = false, is_exact = false;
  static constexpr bool has_infinity = true, has_quiet_NaN = true;
  static constexpr int digits = 11, radix = 2;
  static adapter::float16 min() { return 0x1p-14f; }
  static adapter::float16 max() { return 65504.0f; }
  static adapter::float16 lowest() { return -65504.0f; }
  static adapter::float16 epsilon() { return 0x1p-10f; }
  static adapter::float16 infinity() { return std::numeric_limits<float>::infinity(); }
  static adapter::float16 quiet_NaN() { return std::numeric_limits<float>::quiet_NaN(); }
};

template <>
class std::numeric_limits<adapter::bfloat16> {
 public:
  static constexpr bool is_specialized = true, is_signed = true, is_integer = false, is_exact = false;
  static constexpr bool has_infinity = true, has_quiet_NaN = true;
  static constexpr int digits = 8, radix = 2;
  static adapter::bfloat16 min() { return 0x1p-126f; }
  static adapter::bfloat16 max() { return 0x1.fep127f; }
  static adapter::bfloat16 lowest() { return -0x1.fep127f; }
  static adapter::bfloat16 epsilon() { return 0x1p-7f; }
  static adapter::bfloat16 infinity() { return std::numeric_limits<float>::infinity(); }
  static adapter::bfloat16 quiet_NaN() { return std::numeric_limits<float>::quiet_NaN(); }
};
