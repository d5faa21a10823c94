// Normalisation of x + bias + alpha * residual, with an output that may be quantised to int8.
#pragma once

#include <cmath>
#include <string>

#include "norm_rows.h"

namespace adapter::kernels {

// int8 = round(max_bound * scale * value), held within the bounds. Rounding 0 takes ties to even, 1 away from zero.
struct NormQuantizer {
  float scale = -1;
  int32_t rounding = 0;
  float max_bound = 0, min_bound = 0;

  explicit operator bool() const { return scale > 0; }

  // Throws InvalidArgument where it is to quantise and cannot.
  void check(const char* kernel) const {
    if (!*this) return;
    if (rounding != 0 && rounding != 1)
      throw InvalidArgument(std::string(kernel) + ": quant_round_type is " + std::to_string(rounding) +
                            ", neither 0 nor 1");
    if (max_bound == 0 || min_bound == 0)
      throw InvalidArgument(std::string(kernel) + ": a quantised output needs quant_max_bound and quant_min_bound");
  }
  int8_t operator()(float value) const {
    const float wanted = max_bound * scale * value;
    const float rounded = rounding == 0 ? std::nearbyint(wanted) : std::round(wanted);
    if (!(rounded > min_bound)) return static_cast<int8_t>(min_bound);  // a NaN, too
    return static_cast<int8_t>(rounded < max_bound ? rounded : max_bound);
  }
};

// What is normalised: x, or x + bias + alpha * residual, which is then also stored in `kept`.
template <typename T>
struct ResidualRows {
  using C = Compute<T>;
  const T *x = nullptr, *bias = nullptr, *residual = nullptr;
  T* kept = nullptr;
  C alpha = 1;
  int64_t width = 0;

  const C* operator()(int64_t i, C* stage) const {
    const T* row = x + i * width;
    if (residual == nullptr) return widened_row(row, width, stage);
    const T* skip = residual + i * width;
    for (int64_t j = 0; j < width; ++j) {
      const C shifted = bias ? static_cast<C>(row[j]) + static_cast<C>(bias[j]) : static_cast<C>(row[j]);
      stage[j] = shifted + static_cast<C>(skip[j]) * alpha;
    }
    if (kept) host::narrow(stage, kept + i * width, 1, width);
    return stage;
  }
};

// Checks the operands' sizes. As in Paddle's GPU kernels, a bias counts only beside a residual, and a residual may have
// its elements in other axes than x, as models hand it over. Throws InvalidArgument.
template <typename T>
ResidualRows<T> residual_rows(Context& ctx, const Tensor& x, const OptionalTensor& bias, const OptionalTensor& residual,
                              float alpha, int64_t width, Output& residual_out) {
  ResidualRows<T> rows;
  rows.x = host::in<T>(x), rows.alpha = static_cast<Compute<T>>(alpha), rows.width = width;
  if (residual && residual.numel() != x.numel())
    throw InvalidArgument("a residual of shape " + to_string(residual.shape) + " for x of " + to_string(x.shape));
  if (residual && bias && bias.numel() != width)
    throw InvalidArgument("a bias of shape " + to_string(bias.shape) + " for rows of " + std::to_string(width) +
                          " elements");
  if (residual) rows.residual = host::in<T>(residual);
  if (residual && bias) rows.bias = host::in<T>(bias);
  if (residual_out) {
    ctx.resize(residual_out, residual ? x.shape : Shape{0});  // without a residual there is nothing to keep
    rows.kept = host::out<T>(ctx, residual_out);
  }
  return rows;
}

// The output in T, or in int8 where it is quantised.
template <typename T>
struct NormTarget {
  T* plain = nullptr;
  int8_t* quantised = nullptr;
  NormQuantizer quantizer;

  NormTarget(Context& ctx, Output& out, const Shape& shape, const NormQuantizer& how) : quantizer(how) {
    ctx.resize(out, shape);
    if (quantizer)
      quantised = host::out<int8_t>(ctx, out);
    else
      plain = host::out<T>(ctx, out);
  }
  void store(const Compute<T>* row, int64_t i, int64_t width) const {
    if (quantised == nullptr) return host::narrow(row, plain + i * width, 1, width);
    for (int64_t j = 0; j < width; ++j) quantised[i * width + j] = quantizer(static_cast<float>(row[j]));
  }
};

}  // namespace adapter::kernels
