// Powers of floating point numbers and of integers.
#pragma once

#include <cmath>
#include <type_traits>

namespace adapter::kernels {

// Integer powers are exact modulo 2^bits; an integer to a negative power is truncated towards zero, 0 to one is 0.
template <typename T>
T power(T base, T exponent) {
  if constexpr (is_floating<T>) {
    return std::pow(Compute<T>(base), Compute<T>(exponent));
  } else {
    using Wrapping = std::make_unsigned_t<T>;
    if (exponent < 0) return base == 1 ? T(1) : base == -1 ? (exponent % 2 == 0 ? T(1) : T(-1)) : T(0);
    Wrapping result = 1, square = static_cast<Wrapping>(base);
    for (; exponent > 0; exponent = static_cast<T>(exponent / 2), square *= square)
      if (exponent % 2 == 1) result *= square;
    return static_cast<T>(result);
  }
}

// d(base^exponent)/d(base)
template <typename T>
T power_slope(T base, T exponent) {
  using C = Compute<T>;
  return exponent == 0 ? C(0) : exponent * std::pow(C(base), C(exponent - 1));
}

}  // namespace adapter::kernels
