// x W + bias for a weight of small integers (see quantized_weight.h), never dequantized as a whole.
//
// Forward, a panel of integers is converted into the dtype of x, where integers of 8 bits are exact; the sum over a
// group, in float32, is multiplied by the scale. So the weight is not rounded at all.
#include <cstring>
#include <vector>

#include "adapter_sdk/kernel.h"
#include "gemm.h"
#include "gemm_tiles.h"
#include "quantized_weight.h"

namespace adapter::kernels {

// Sides of a panel: channels, and numbers of a channel. A group of numbers with one scale is never longer than a panel.
inline constexpr int64_t kPanelChannels = 256, kPanelDepth = 512;
inline constexpr int64_t kTokens = 1024;  // rows of x that share a panel

// A panel of the integers alone, [channels, count].
template <typename T>
void number_panel(const QuantizedWeight& w, int64_t channel, int64_t channels, int64_t first, int64_t count, T* to) {
  std::vector<float> wide(static_cast<size_t>(count));
  for (int64_t j = 0; j < channels; ++j, to += count) {
    w.numbers(channel + j, first, count, wide.data());
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(wide[static_cast<size_t>(i)]);
  }
}

// sum[i, j] += part[i, j] * scale[j]
inline void add_scaled(const float* part, const float* scale, int64_t rows, int64_t columns, float* sum) {
  for (int64_t i = 0; i < rows; ++i, part += columns, sum += columns)
    for (int64_t j = 0; j < columns; ++j) sum[j] += part[j] * scale[j];
}

// One tile of x W, [tile.rows, tile.columns].
template <typename T>
std::vector<float> weight_only_tile(const QuantizedWeight& w, const T* x, const Tile& tile) {
  const int64_t rows = tile.rows, columns = tile.columns;
  const std::vector<float> scales = w.scales_of(tile.column, columns);
  std::vector<T> panel(static_cast<size_t>(columns * std::min(kPanelDepth, w.k)));
  std::vector<float> sum(static_cast<size_t>(rows * columns)), part(sum.size());
  for (int64_t begin = 0; begin < w.k; begin += w.group) {
    const int64_t end = std::min(begin + w.group, w.k);
    for (int64_t p = begin; p < end; p += kPanelDepth) {
      const int64_t depth = std::min(kPanelDepth, end - p);
      number_panel(w, tile.column, columns, p, depth, panel.data());
      gemm_tile<T>(false, true, rows, columns, depth, x + tile.row * w.k + p, w.k, panel.data(), depth,
                   p == begin ? 0.0f : 1.0f, part.data(), columns);
    }
    add_scaled(part.data(), scales.data() + begin / w.group * columns, rows, columns, sum.data());
  }
  return sum;
}

// Up to so many rows a product is bound by reading the weight: then no panel is made of it.
inline constexpr int64_t kFewTokens = 4;

// Numbers that are widened and multiplied together. GCC and Clang have such types on every processor, and lengthening
// eight bytes is one instruction of most, which no loop over floats and bytes is turned into.
inline constexpr int64_t kLanes = 8;
typedef float Floats __attribute__((vector_size(kLanes * sizeof(float))));
typedef int32_t Integers __attribute__((vector_size(kLanes * sizeof(int32_t))));

// Bytes of one channel, see quantized_weight.h; of int4 `up` moves the wanted half to the top of a 32 bit integer.
template <bool kInt4>
struct Bytes {
  const int8_t* from;
  int up;

  float number(int64_t i) const {
    const int32_t wide = from[i];
    if constexpr (!kInt4) return static_cast<float>(wide);
    return static_cast<float>(static_cast<int32_t>(static_cast<uint32_t>(wide) << up) >> 28);
  }
  void numbers(int64_t first, Floats& to) const {
    const int8_t* b = from + first;
    Integers wide = {b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]};
    if constexpr (kInt4) wide = wide << up >> 28;
    to = __builtin_convertvector(wide, Floats);
  }
};

// Bytes ahead of those in use that are asked for: a product of few rows waits for its weight, and processors look ahead
// to the end of a page at most. From half of it to the double no difference is seen.
inline constexpr int64_t kAhead = 2048;

// Inner products of n numbers of a channel with each of `kRows` rows of x, which lie `stride` apart.
template <int kRows, bool kInt4>
void channel_products(const Bytes<kInt4>& channel, const float* x, int64_t stride, int64_t n, float* products) {
  constexpr int kTogether = kRows == 1 ? 4 : 2;  // independent sums of a row: as many as there are registers for
  Floats sums[kRows][kTogether] = {};
  int64_t i = 0;
  for (; i + kTogether * kLanes <= n; i += kTogether * kLanes) {
    __builtin_prefetch(channel.from + i + kAhead);
    for (int u = 0; u < kTogether; ++u) {
      Floats numbers, row;
      channel.numbers(i + u * kLanes, numbers);
      for (int r = 0; r < kRows; ++r) {
        std::memcpy(&row, x + r * stride + i + u * kLanes, sizeof row);
        sums[r][u] += row * numbers;
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int u = 1; u < kTogether; ++u) sums[r][0] += sums[r][u];
    const Floats& lanes = sums[r][0];
    float sum = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
    for (int64_t rest = i; rest < n; ++rest) sum += x[r * stride + rest] * channel.number(rest);
    products[r] = sum;
  }
}

// One tile of x W for few rows, channel by channel.
template <int kRows, bool kInt4, typename T>
std::vector<float> weight_only_products(const QuantizedWeight& w, const T* x, const Tile& tile) {
  const std::vector<float> scales = w.scales_of(tile.column, tile.columns);
  std::vector<float> rows(static_cast<size_t>(kRows * w.k)), sum(static_cast<size_t>(kRows * tile.columns));
  host::widen(x + tile.row * w.k, 1, rows.data(), kRows * w.k);
  float products[kRows];
  for (int64_t j = 0; j < tile.columns; ++j) {
    const int64_t channel = tile.column + j;
    const int8_t* from = w.data + (kInt4 ? channel / 2 : channel) * w.k;
    for (int64_t p = 0; p < w.k; p += w.group) {
      const Bytes<kInt4> bytes{from + p, channel % 2 == 0 ? 28 : 24};
      channel_products<kRows>(bytes, rows.data() + p, w.k, std::min(w.group, w.k - p), products);
      const float scale = scales[static_cast<size_t>(p / w.group * tile.columns + j)];
      for (int r = 0; r < kRows; ++r) sum[static_cast<size_t>(r * tile.columns + j)] += products[r] * scale;
    }
  }
  return sum;
}

template <bool kInt4, typename T>
std::vector<float> products_of_few(const QuantizedWeight& w, const T* x, const Tile& tile) {
  static_assert(kFewTokens == 4);
  switch (tile.rows) {
    case 1: return weight_only_products<1, kInt4>(w, x, tile);
    case 2: return weight_only_products<2, kInt4>(w, x, tile);
    case 3: return weight_only_products<3, kInt4>(w, x, tile);
    default: return weight_only_products<4, kInt4>(w, x, tile);
  }
}

inline bool is_int4_weight(const std::string& weight_dtype) {
  if (weight_dtype != "int8" && weight_dtype != "int4")
    throw InvalidArgument("weight_dtype has to be 'int8' or 'int4', got '" + weight_dtype + "'");
  return weight_dtype == "int4";
}

// The rows of x, whose last axis has to have k elements.
inline int64_t tokens_of(const Shape& x, int64_t k) {
  if (x.rank == 0 || x[x.rank - 1] != k)
    throw InvalidArgument("a weight of " + std::to_string(k) + " numbers a channel meets x " + to_string(x));
  return x.product(0, x.rank - 1);
}

inline void check_bias(const OptionalTensor& bias, int64_t n) {
  if (bias && bias.numel() != n)
    throw InvalidArgument("the bias of " + std::to_string(n) + " channels is " + to_string(bias.shape));
}

template <typename T>
void weight_only_linear(Context& ctx, const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                        const Tensor& weight_scale, const std::string& weight_dtype, int32_t /*arch*/,
                        int32_t group_size, Output& out) {
  const QuantizedWeight w = quantized_weight(weight, weight_scale, is_int4_weight(weight_dtype), group_size);
  const int64_t m = tokens_of(x.shape, w.k);
  check_bias(bias, w.n);
  Shape shape = x.shape;
  shape[shape.rank - 1] = w.n;
  ctx.resize(out, shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const T* b = bias ? host::in<T>(bias) : nullptr;
  host::launch(ctx, [=] {
    each_tile(m, w.n, kTokens, kPanelChannels, [&](const Tile& tile) {
      std::vector<float> sum = m > kFewTokens ? weight_only_tile(w, a, tile)
                               : w.int4       ? products_of_few<true>(w, a, tile)
                                              : products_of_few<false>(w, a, tile);
      for (int64_t i = 0; i < tile.rows; ++i) {
        float* row = sum.data() + i * tile.columns;
        for (int64_t j = 0; b != nullptr && j < tile.columns; ++j) row[j] += static_cast<float>(b[tile.column + j]);
        host::narrow(row, r + (tile.row + i) * w.n + tile.column, 1, tile.columns);
      }
    });
  });
}

// One tile of out_grad W^T, [tile.rows, tile.columns]; columns are numbers of a channel. The scales stand within the
// sum, so panels of W are made in float32.
template <typename T>
std::vector<float> weight_only_grad_tile(const QuantizedWeight& w, const T* out_grad, const Tile& tile) {
  const int64_t rows = tile.rows, columns = tile.columns;
  std::vector<float> panel(static_cast<size_t>(kPanelChannels * columns));
  std::vector<float> flow(static_cast<size_t>(rows * kPanelChannels)), sum(static_cast<size_t>(rows * columns));
  for (int64_t channel = 0; channel < w.n; channel += kPanelChannels) {
    const int64_t channels = std::min(kPanelChannels, w.n - channel);
    const std::vector<float> scales = w.scales_of(channel, channels);
    for (int64_t j = 0; j < channels; ++j)
      w.weights(channel + j, tile.column, columns, scales.data() + j, channels, panel.data() + j * columns);
    for (int64_t i = 0; i < rows; ++i)
      host::widen(out_grad + (tile.row + i) * w.n + channel, 1, flow.data() + i * channels, channels);
    gemm_tile<float>(false, false, rows, columns, channels, flow.data(), channels, panel.data(), columns,
                     channel == 0 ? 0.0f : 1.0f, sum.data(), columns);
  }
  return sum;
}

template <typename T>
void weight_only_linear_grad(Context& ctx, const Tensor& x, const Tensor& weight, const OptionalTensor& /*bias*/,
                             const Tensor& weight_scale, const Tensor& out_grad, const std::string& weight_dtype,
                             int32_t /*arch*/, int32_t group_size, Output& x_grad) {
  if (!x_grad) return;
  const QuantizedWeight w = quantized_weight(weight, weight_scale, is_int4_weight(weight_dtype), group_size);
  const int64_t m = tokens_of(x.shape, w.k);
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=] {
    each_tile(m, w.k, kTokens, kPanelDepth, [&](const Tile& tile) {
      const std::vector<float> sum = weight_only_grad_tile(w, g, tile);
      for (int64_t i = 0; i < tile.rows; ++i)
        host::narrow(sum.data() + i * tile.columns, r + (tile.row + i) * w.k + tile.column, 1, tile.columns);
    });
  });
}

ADAPTER_FUSED_KERNEL("weight_only_linear", weight_only_linear, f32, float, float16, bfloat16)
ADAPTER_FUSED_KERNEL("weight_only_linear_grad", weight_only_linear_grad, f32, float, float16, bfloat16)

}  // namespace adapter::kernels
