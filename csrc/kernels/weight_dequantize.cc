#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "quantized_weight.h"

namespace adapter::kernels {

// The channels [first, first + width) of W[k, n].
template <typename T>
void dequantize_channels(const QuantizedWeight& w, int64_t first, int64_t width, T* out) {
  const std::vector<float> scales = w.scales_of(first, width);
  std::vector<float> own(static_cast<size_t>(width * kTurnTile));
  float row[kTurnTile];
  for (int64_t p = 0; p < w.k; p += kTurnTile) {
    const int64_t rows = std::min(kTurnTile, w.k - p);
    for (int64_t j = 0; j < width; ++j)
      w.weights(first + j, p, rows, scales.data() + j, width, own.data() + j * kTurnTile);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < width; ++j) row[j] = own[static_cast<size_t>(j * kTurnTile + i)];
      T* to = out + (p + i) * w.n + first;
      for (int64_t j = 0; j < width; ++j) to[j] = static_cast<T>(row[j]);
    }
  }
}

template <typename T>
void weight_dequantize(Context& ctx, const Tensor& x, const Tensor& scale, const std::string& algo, int32_t group_size,
                       Output& out) {
  const QuantizedWeight w = quantized_weight(x, scale, stores_int4(algo), group_size);
  ctx.resize(out, {w.k, w.n});
  T* r = host::out<T>(ctx, out);
  host::launch(ctx, [=] {
    host::parallel_for(w.n, kTurnTile,
                       [&](int64_t begin, int64_t end) { dequantize_channels(w, begin, end - begin, r); });
  });
}

// Before Paddle 3.1 the dtype of the result was an attribute; the kernel is already chosen by it.
template <typename T>
void weight_dequantize_to(Context& ctx, const Tensor& x, const Tensor& scale, const std::string& algo, DType /*dtype*/,
                          int32_t group_size, Output& out) {
  weight_dequantize<T>(ctx, x, scale, algo, group_size, out);
}

ADAPTER_FUSED_KERNEL("weight_dequantize", weight_dequantize, none, float, float16, bfloat16)
ADAPTER_FUSED_KERNEL("weight_dequantize", weight_dequantize_to, none, float, float16, bfloat16)

}  // namespace adapter::kernels
