#pragma once

#include "fast_exp.h"

namespace adapter::kernels {

// 1 / (1 + e^-x), without overflow and without losing the small values. T is float or double.
template <typename T>
T logistic(T x) {
  return logistic_of(x);
}

// d(x * logistic(x))/dx
template <typename T>
T silu_slope(T x) {
  return logistic(x) * (1 + x * logistic(-x));
}

}  // namespace adapter::kernels
