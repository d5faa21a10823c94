#pragma once

#include <cmath>

namespace adapter::kernels {

// 1 / (1 + e^-x), without overflow and without losing the small values.
template <typename T>
T logistic(T x) {
  if (x < 0) {
    const T e = std::exp(x);
    return e / (1 + e);
  }
  return 1 / (1 + std::exp(-x));
}

// d(x * logistic(x))/dx
template <typename T>
T silu_slope(T x) {
  return logistic(x) * (1 + x * logistic(-x));
}

}  // namespace adapter::kernels
