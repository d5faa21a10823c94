// x W + bias, after T. Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", 2022: the
// features of x that hold an outlier are multiplied as they are, the others as int8 with a scale for every row.
#include <cmath>
#include <vector>

#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "gemm.h"
#include "gemm_tiles.h"
#include "quantized_weight.h"

namespace adapter::kernels {

// x apart: int8 rows with their ranges, and the columns that are kept as they are.
struct SplitActivation {
  std::vector<int64_t> outliers;  // features in which any |x| exceeds the threshold
  std::vector<float> kept;        // [m, outliers]
  std::vector<int8_t> numbers;    // [m, k], 0 at the outliers
  std::vector<float> ranges;      // [m]: 127 stands for this
};

// The range of a row is that of its elements within the threshold, be they in an outlier feature or not, as in Paddle.
template <typename T>
SplitActivation split_activation(const T* x, int64_t m, int64_t k, float threshold) {
  SplitActivation split;
  split.ranges.assign(static_cast<size_t>(m), 0.0f);
  std::vector<char> beyond(static_cast<size_t>(k));
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t i = 0; i < m; ++i) {
    host::widen(x + i * k, 1, row.data(), k);
    float& range = split.ranges[static_cast<size_t>(i)];
    for (size_t p = 0; p < row.size(); ++p) {
      const float size = std::fabs(row[p]);
      if (!(size <= threshold))
        beyond[p] = 1;  // a NaN is an outlier, too: int8 could not hold it
      else if (size > range)
        range = size;
    }
  }
  for (size_t p = 0; p < beyond.size(); ++p)
    if (beyond[p] != 0) split.outliers.push_back(static_cast<int64_t>(p));
  const size_t count = split.outliers.size();
  split.kept.resize(static_cast<size_t>(m) * count);
  split.numbers.resize(static_cast<size_t>(m * k));
  host::parallel_for(m, host::rows_grain(k), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* from = x + i * k;
      int8_t* to = split.numbers.data() + i * k;
      const float range = split.ranges[static_cast<size_t>(i)], inverse = range > 0 ? 1.0f / range : 0.0f;
      for (int64_t p = 0; p < k; ++p) {
        const float scaled = std::round(static_cast<float>(from[p]) * 127.0f * inverse);
        to[p] = beyond[static_cast<size_t>(p)] != 0 ? int8_t{0}
                                                    : static_cast<int8_t>(std::min(127.0f, std::max(-127.0f, scaled)));
      }
      for (size_t o = 0; o < count; ++o)
        split.kept[static_cast<size_t>(i) * count + o] = static_cast<float>(from[split.outliers[o]]);
    }
  });
  return split;
}

// The channels [first, first + width) of x W, [m, width].
inline std::vector<float> int8_columns(const QuantizedWeight& w, const SplitActivation& split, int64_t m, int64_t first,
                                       int64_t width) {
  const std::vector<float> scales = w.scales_of(first, width);
  std::vector<int32_t> whole(static_cast<size_t>(m * width));
  gemm_int8(false, true, m, width, w.k, split.numbers.data(), w.data + first * w.k, whole.data());
  std::vector<float> sum(whole.size());
  if (const auto count = static_cast<int64_t>(split.outliers.size()); count > 0) {
    std::vector<float> panel(static_cast<size_t>(width * count));
    for (int64_t j = 0; j < width; ++j)
      for (int64_t o = 0; o < count; ++o)
        w.weights(first + j, split.outliers[static_cast<size_t>(o)], 1, scales.data() + j, width,
                  panel.data() + j * count + o);
    gemm_tile<float>(false, true, m, width, count, split.kept.data(), count, panel.data(), count, 0.0f, sum.data(),
                     width);
  }
  for (int64_t i = 0; i < m; ++i) {
    const float unit = split.ranges[static_cast<size_t>(i)] / 127.0f;
    for (int64_t j = 0; j < width; ++j) {
      const auto at = static_cast<size_t>(i * width + j);
      sum[at] += static_cast<float>(whole[at]) * (unit * scales[static_cast<size_t>(j)]);
    }
  }
  return sum;
}

template <typename T>
void llm_int8_linear(Context& ctx, const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                     const Tensor& weight_scale, float threshold, Output& out) {
  const QuantizedWeight w = quantized_weight(weight, weight_scale, false, -1);
  if (x.shape.rank == 0 || x.shape[x.shape.rank - 1] != w.k)
    throw InvalidArgument("llm_int8_linear: a weight of " + std::to_string(w.k) + " numbers a channel meets x " +
                          to_string(x.shape));
  if (bias && bias.numel() != w.n)
    throw InvalidArgument("llm_int8_linear: the bias of " + std::to_string(w.n) + " channels is " +
                          to_string(bias.shape));
  const int64_t m = x.shape.product(0, x.shape.rank - 1);
  Shape shape = x.shape;
  shape[shape.rank - 1] = w.n;
  ctx.resize(out, shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const T* b = bias ? host::in<T>(bias) : nullptr;
  // The weight knows a threshold of the dtype of x.
  const float limit = static_cast<float>(static_cast<T>(threshold));
  host::launch(ctx, [=] {
    if (m == 0 || w.n == 0) return;
    const SplitActivation split = split_activation(a, m, w.k, limit);
    host::parallel_for(w.n, TileSides(m, w.n, w.k).columns, [&](int64_t begin, int64_t end) {
      std::vector<float> sum = int8_columns(w, split, m, begin, end - begin);
      for (int64_t i = 0; i < m; ++i) {
        float* row = sum.data() + i * (end - begin);
        for (int64_t j = begin; b != nullptr && j < end; ++j) row[j - begin] += static_cast<float>(b[j]);
        host::narrow(row, r + i * w.n + begin, 1, end - begin);
      }
    });
  });
}

ADAPTER_FUSED_KERNEL("llm_int8_linear", llm_int8_linear, f32, float, float16, bfloat16)

}  // namespace adapter::kernels
