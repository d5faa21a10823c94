// What the decoding kernels do to the numbers of a head before and after attention: scale and bias, rotation, shift,
// smoothing and quantisation. Everything is computed in float.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

#include "adapter_sdk/half.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/loops.h"

namespace adapter::kernels {

// Rows of queries, keys and values side by side, with a scale (for int32 products of quantised matrices) and a bias of
// each column.
template <typename X, typename T>
struct FusedRows {
  const X* data;
  int64_t width;
  const float* scales;  // NULL: none
  const T* bias;        // NULL: none

  void read(int64_t row, int64_t column, int64_t n, float* to) const {
    const X* from = data + row * width + column;
    if constexpr (std::is_same_v<X, int32_t>) {
      for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]);
    } else {
      host::widen(from, 1, to, n);
    }
    if (scales != nullptr)
      for (int64_t i = 0; i < n; ++i) to[i] *= scales[column + i];
    if (bias != nullptr)
      for (int64_t i = 0; i < n; ++i) to[i] += static_cast<float>(bias[column + i]);
  }
};

// Which two numbers of a head make a pair that is turned by an angle: x[2 i] and x[2 i + 1], or (GPT-NeoX) x[i] and
// x[i + half].
enum class Pairing { neighbours, halves };

// Turns the pairs of n numbers. There is one cosine and sine for each pair, or, with `angle_each`, for each number.
inline void rotate_pairs(float* x, int64_t n, Pairing pairing, const float* cosines, const float* sines,
                         bool angle_each) {
  const int64_t half = n / 2;
  for (int64_t i = 0; i < half; ++i) {
    const int64_t left = pairing == Pairing::neighbours ? 2 * i : i;
    const int64_t right = pairing == Pairing::neighbours ? 2 * i + 1 : i + half;
    const int64_t a = angle_each ? left : i, b = angle_each ? right : i;
    const float l = x[left], r = x[right];
    x[left] = l * cosines[a] - r * sines[a];
    x[right] = r * cosines[b] + l * sines[b];
  }
}

// Rounding to whole numbers between two bounds.
struct BoundedRounding {
  int32_t round_type;  // 0: ties to even, else away from zero
  float highest, lowest;

  // A NaN, which has no place among whole numbers, becomes 0.
  float operator()(float value) const {
    if (std::isnan(value)) return 0.0f;
    const float whole = round_type == 0 ? std::nearbyint(value) : std::round(value);
    return whole > highest ? highest : whole < lowest ? lowest : whole;
  }
};

// Stores results of a head: (value + shift) * smooth where these are given, and round(highest * scale * value) in int8
// where there is a scale.
template <typename T>
struct ResultStore {
  void* out;
  const T *shift, *smooth;  // NULL: none
  float scale;              // above 0: int8
  BoundedRounding rounding;

  static DType dtype(float scale) { return scale > 0 ? DType::int8 : dtype_of<T>; }

  void clear(int64_t offset, int64_t n) const {
    if (scale > 0)
      std::fill_n(static_cast<int8_t*>(out) + offset, n, int8_t{0});
    else
      std::fill_n(static_cast<T*>(out) + offset, n, T(0.0f));
  }

  // n numbers to `offset`, which are columns `column` and following.
  void write(int64_t offset, int64_t column, int64_t n, const float* values) const {
    for (int64_t i = 0; i < n; ++i) {
      float value = values[i];
      if (shift != nullptr)
        value = (value + static_cast<float>(shift[column + i])) * static_cast<float>(smooth[column + i]);
      if (scale > 0)
        static_cast<int8_t*>(out)[offset + i] = static_cast<int8_t>(rounding(rounding.highest * scale * value));
      else
        static_cast<T*>(out)[offset + i] = static_cast<T>(value);
    }
  }
};

// The elements of an optional input, NULL when it is absent. Throws InvalidArgument, naming `what`, for another dtype
// or number of elements.
template <typename T>
const T* optional_in(const OptionalTensor& tensor, const char* what, int64_t count) {
  if (!tensor) return nullptr;
  if (tensor.dtype != dtype_of<T> || tensor.numel() != count)
    throw InvalidArgument(std::string(what) + " has to be " + std::to_string(count) + " numbers of " +
                          name_of(dtype_of<T>) + ", got " + name_of(tensor.dtype) + " " + to_string(tensor.shape));
  return host::in<T>(tensor);
}

// What attribute compute_dtype names. Throws InvalidArgument for another name.
inline DType compute_dtype_named(const std::string& name) {
  if (name == "fp16") return DType::float16;
  if (name == "bf16") return DType::bfloat16;
  if (name == "fp32") return DType::float32;
  throw InvalidArgument("an int32 input needs compute_dtype fp16, bf16 or fp32, got '" + name + "'");
}

// int8 takes bounds that fit.
inline void require_int8_bounds(float scale, float highest, float lowest) {
  if (scale > 0 && (highest > 127.0f || lowest < -128.0f))
    throw Unimplemented("a quantised output is int8 here, which does not hold quant_max_bound " +
                        std::to_string(highest) + " and quant_min_bound " + std::to_string(lowest));
}

}  // namespace adapter::kernels
