// Weights of a linear layer W[k, n] stored as small integers with scales: W[p, j] = number[p, j] * scale[group(p), j].
//
// Paddle leaves the layout of the integers to the device. Here they lie as in Paddle's builds for ROCm: transposed,
// channel after channel. int8: one byte a number, [n, k]. int4: byte [i, p] of [n / 2, k] holds channel 2i in its low
// half and channel 2i + 1 in its high half, in two's complement.
#pragma once

#include <string>
#include <vector>

#include "numbers.h"

namespace adapter::kernels {

// Tiles in which a matrix is turned: both their sides stay in the nearest cache.
inline constexpr int64_t kTurnTile = 64;

struct QuantizedWeight {
  const int8_t* data;
  int64_t n, k;    // channels, and numbers in each
  int64_t group;   // numbers that share a scale; k, at least 1, where a channel has one scale
  int64_t groups;  // scales of a channel
  bool int4;
  Numbers scales;  // [groups, n]

  // numbers of channel j, `first` .. first + count - 1
  void numbers(int64_t j, int64_t first, int64_t count, float* to) const {
    if (!int4) {
      const int8_t* from = data + j * k + first;
      for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]);
      return;
    }
    const int8_t* from = data + j / 2 * k + first;
    const int up = j % 2 == 0 ? 4 : 0;  // the wanted half goes up; coming down again extends its sign
    for (int64_t i = 0; i < count; ++i)
      to[i] = static_cast<float>(static_cast<int8_t>(static_cast<uint8_t>(from[i]) << up) >> 4);
  }
  // The same, multiplied by their scales; scale[g * stride] is that of group g.
  void weights(int64_t j, int64_t first, int64_t count, const float* scale, int64_t stride, float* to) const {
    numbers(j, first, count, to);
    for (int64_t i = 0; i < count;) {
      const int64_t g = (first + i) / group, end = std::min(count, (g + 1) * group - first);
      const float factor = scale[g * stride];
      for (; i < end; ++i) to[i] *= factor;
    }
  }
  // Scales of the channels [first, first + count): [groups, count].
  std::vector<float> scales_of(int64_t first, int64_t count) const {
    std::vector<float> table(static_cast<size_t>(groups * count));
    for (int64_t g = 0; g < groups; ++g) scales.read(g * n + first, count, table.data() + g * count);
    return table;
  }
};

// Numbers that share a scale, given Paddle's attribute: -1, 64 or 128.
inline int64_t group_length(int32_t group_size, int64_t k) {
  if (group_size != -1 && group_size != 64 && group_size != 128)
    throw InvalidArgument("group_size has to be -1 (one scale a channel), 64 or 128, got " +
                          std::to_string(group_size));
  return group_size == -1 ? std::max<int64_t>(k, 1) : group_size;
}

// Whether an algo of weight_quantize stores int4. Throws InvalidArgument for one that is not known.
inline bool stores_int4(const std::string& algo) {
  if (algo != "weight_only_int8" && algo != "weight_only_int4" && algo != "llm.int8")
    throw InvalidArgument("algo has to be 'weight_only_int8', 'weight_only_int4' or 'llm.int8', got '" + algo + "'");
  return algo == "weight_only_int4";
}

// What weight_quantize has made. Throws InvalidArgument where weight and scale do not belong together.
inline QuantizedWeight quantized_weight(const Tensor& weight, const Tensor& scale, bool int4, int32_t group_size) {
  if (weight.shape.rank != 2 || weight.dtype != DType::int8)
    throw InvalidArgument("a quantized weight is an int8 matrix, got " + to_string(weight.shape) + " " +
                          name_of(weight.dtype));
  QuantizedWeight w{};
  w.data = host::in<int8_t>(weight);
  w.n = weight.shape[0] * (int4 ? 2 : 1);
  w.k = weight.shape[1];
  w.group = group_length(group_size, w.k);
  w.groups = group_size == -1 ? 1 : (w.k + w.group - 1) / w.group;
  w.int4 = int4;
  w.scales = Numbers(scale, "the scale of a weight");
  if (scale.numel() != w.groups * w.n)
    throw InvalidArgument("a quantized weight of " + to_string(weight.shape) + (int4 ? " with int4 numbers" : "") +
                          " and group_size " + std::to_string(group_size) + " has " + std::to_string(w.groups * w.n) +
                          " scales, got " + to_string(scale.shape));
  return w;
}

}  // namespace adapter::kernels
