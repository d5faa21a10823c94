// W[k, n] as integers with one scale a channel, or one for every `group_size` numbers of it. The largest magnitude of a
// group becomes 127 (int4: 7); halves round away from zero, as Paddle's do.
#include <cmath>

#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "quantized_weight.h"

namespace adapter::kernels {

// A NaN takes the place of every other number, so that it reaches the scale.
inline float larger_magnitude(float peak, float value) {
  const float size = std::fabs(value);
  return size > peak || size != size ? size : peak;
}

// value in units of peak / bound. What is no number (0 / 0 in a group of zeros, for one) becomes 0.
inline int8_t quantized_number(float value, float peak, float bound) {
  const float scaled = value / peak * bound;
  return scaled == scaled ? static_cast<int8_t>(std::lround(std::min(bound, std::max(-bound, scaled)))) : int8_t{0};
}

// Where a weight comes from and what becomes of it.
template <typename T>
struct WeightQuantization {
  const T* weight;
  int8_t* out;
  void* scale;
  DType scale_dtype;
  int64_t k, n, group;
  bool int4;

  float bound() const { return int4 ? 7.0f : 127.0f; }

  // `width` channels from `first` on; width is even for int4.
  void channels(int64_t first, int64_t width) const {
    for (int64_t begin = 0; begin < std::max<int64_t>(k, 1); begin += group) {
      float peak[kTurnTile] = {}, row[kTurnTile];
      const int64_t end = std::min(begin + group, k);
      for (int64_t p = begin; p < end; ++p) {
        host::widen(weight + p * n + first, 1, row, width);
        for (int64_t j = 0; j < width; ++j) peak[j] = larger_magnitude(peak[j], row[j]);
      }
      store_scales(begin / group * n + first, width, peak);
      for (int64_t p = begin; p < end; p += kTurnTile) turn(first, width, p, std::min(kTurnTile, end - p), peak);
    }
  }

 private:
  void store_scales(int64_t at, int64_t width, const float* peak) const {
    for (int64_t j = 0; j < width; ++j) {
      if (scale_dtype == DType::float32)
        static_cast<float*>(scale)[at + j] = peak[j] / bound();
      else
        static_cast<T*>(scale)[at + j] = static_cast<T>(peak[j] / bound());
    }
  }
  // `rows` numbers of each channel from p on.
  void turn(int64_t first, int64_t width, int64_t p, int64_t rows, const float* peak) const {
    int8_t turned[kTurnTile][kTurnTile];
    float row[kTurnTile];
    for (int64_t i = 0; i < rows; ++i) {
      host::widen(weight + (p + i) * n + first, 1, row, width);
      for (int64_t j = 0; j < width; ++j) turned[j][i] = quantized_number(row[j], peak[j], bound());
    }
    for (int64_t j = 0; j < width; j += int4 ? 2 : 1) {
      int8_t* to = out + (first + j) / (int4 ? 2 : 1) * k + p;
      if (int4)
        for (int64_t i = 0; i < rows; ++i)
          to[i] = static_cast<int8_t>((turned[j][i] & 0x0f) | static_cast<uint8_t>(turned[j + 1][i]) << 4);
      else
        std::copy(turned[j], turned[j] + rows, to);
    }
  }
};

// `arch` is the model of an NVIDIA card: there it decides on the layout.
template <typename T>
void weight_quantize(Context& ctx, const Tensor& x, const std::string& algo, int32_t /*arch*/, int32_t group_size,
                     Output& out, Output& scale) {
  const bool int4 = stores_int4(algo);
  if (x.shape.rank != 2) throw InvalidArgument("weight_quantize takes a matrix, got " + to_string(x.shape));
  const int64_t k = x.shape[0], n = x.shape[1];
  if (int4 && n % 2 != 0)
    throw InvalidArgument("weight_only_int4 stores channels in pairs, " + std::to_string(n) + " are odd");
  WeightQuantization<T> work{};
  work.group = group_length(group_size, k);
  work.weight = host::in<T>(x);
  work.k = k, work.n = n, work.int4 = int4;
  ctx.resize(out, {int4 ? n / 2 : n, k});
  ctx.resize(scale, group_size == -1 ? Shape{n} : Shape{(k + work.group - 1) / work.group, n});
  work.scale_dtype = algo == "llm.int8" ? DType::float32 : dtype_of<T>;
  work.out = host::out<int8_t>(ctx, out);
  work.scale = host::out(ctx, scale, work.scale_dtype);
  if (scale.numel() == 0) return;
  host::launch(ctx, [=] {
    host::parallel_for(n, kTurnTile, [&](int64_t begin, int64_t end) { work.channels(begin, end - begin); });
  });
}

ADAPTER_FUSED_KERNEL("weight_quantize", weight_quantize, none, float, float16, bfloat16)

}  // namespace adapter::kernels
