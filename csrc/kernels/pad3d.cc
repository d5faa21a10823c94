#include <algorithm>
#include <string>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

enum class PadMode { constant, reflect, replicate, circular };

inline PadMode pad_mode(const std::string& name) {
  if (name == "constant") return PadMode::constant;
  if (name == "reflect") return PadMode::reflect;
  if (name == "replicate") return PadMode::replicate;
  if (name == "circular") return PadMode::circular;
  throw InvalidArgument("pad3d: mode '" + name + "' is not constant, reflect, replicate or circular");
}

// The element of an axis of length n that stands at `position`, which may lie outside; -1 for the padding value.
inline int64_t padded_source(PadMode mode, int64_t position, int64_t n) {
  switch (mode) {
    case PadMode::constant: return position >= 0 && position < n ? position : -1;
    case PadMode::reflect: position = std::abs(position); return std::min(position, 2 * (n - 1) - position);
    case PadMode::replicate: return std::clamp<int64_t>(position, 0, n - 1);
    case PadMode::circular: return (position % n + n) % n;
  }
  return -1;
}

// A padded image: [batch, channels, depth, height, width] or channels last; `paddings` are those of width, height and
// depth, before and behind. Negative ones cut off.
struct Padding {
  PadMode mode;
  int64_t outer, inner;  // outer images of elements of `inner` neighbours
  std::array<int64_t, 3> in, out, before;
  Shape shape;

  Padding(const Shape& x, const IntArray& paddings, const std::string& mode_name, const std::string& format)
      : mode(pad_mode(mode_name)), shape(x) {
    if (x.rank != 5 || paddings.size() != 6)
      throw InvalidArgument("pad3d of " + to_string(x) + " with " + std::to_string(paddings.size()) +
                            " paddings: wanted rank 5 and 6 paddings");
    const bool channels_last = format == "NDHWC";
    const int first = channels_last ? 1 : 2;
    outer = x.product(0, first), inner = channels_last ? x[4] : 1;
    for (int k = 0; k < 3; ++k) {
      const auto at = static_cast<size_t>(k), pair = static_cast<size_t>(2 * (2 - k));
      in[at] = x[first + k], before[at] = paddings[pair], out[at] = in[at] + before[at] + paddings[pair + 1];
      shape[first + k] = out[at];
      check(at, paddings[pair + 1]);
    }
  }

  // Calls step(place in the padded image, place in the image or -1), in order of the first.
  template <typename Step>
  void each(Step&& step) const {
    int64_t place = 0;
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t d = 0; d < out[0]; ++d)
        for (int64_t h = 0; h < out[1]; ++h)
          for (int64_t w = 0; w < out[2]; ++w) {
            const int64_t a = padded_source(mode, d - before[0], in[0]), b = padded_source(mode, h - before[1], in[1]),
                          c = padded_source(mode, w - before[2], in[2]);
            const bool inside = a >= 0 && b >= 0 && c >= 0;
            const int64_t source = (((o * in[0] + a) * in[1] + b) * in[2] + c) * inner;
            for (int64_t i = 0; i < inner; ++i) step(place++, inside ? source + i : -1);
          }
  }

 private:
  void check(size_t axis, int64_t behind) const {
    const bool mirrored = mode == PadMode::reflect && (before[axis] >= in[axis] || behind >= in[axis]);
    const bool empty = mode != PadMode::constant && in[axis] == 0;
    if (out[axis] < 0 || mirrored || empty)
      throw InvalidArgument("pad3d: an axis of length " + std::to_string(in[axis]) + " cannot be padded by " +
                            std::to_string(before[axis]) + " and " + std::to_string(behind) + " in this mode");
  }
};

template <typename T>
void pad3d(Context& ctx, const Tensor& x, const IntArray& paddings, const std::string& mode, double value,
           const std::string& format, Output& out) {
  const Padding plan(x.shape, paddings, mode, format);
  ctx.resize(out, plan.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, fill = static_cast<T>(value)] {
    plan.each([&](int64_t place, int64_t source) { r[place] = source < 0 ? fill : a[source]; });
  });
}

template <typename T>
void pad3d_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const IntArray& paddings,
                const std::string& mode, double /*value*/, const std::string& format, Output& x_grad) {
  const Padding plan(x.shape, paddings, mode, format);
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=, size = static_cast<size_t>(x.numel())] {
    std::vector<Accumulator<T>> sum(size);
    plan.each([&](int64_t place, int64_t source) {
      if (source >= 0) sum[static_cast<size_t>(source)] += static_cast<Accumulator<T>>(g[place]);
    });
    std::transform(sum.begin(), sum.end(), r, [](Accumulator<T> value) { return static_cast<T>(value); });
  });
}

// Paddle before 3.3.0 passes the value as a float.
template <typename T>
void pad3d_float(Context& ctx, const Tensor& x, const IntArray& paddings, const std::string& mode, float value,
                 const std::string& format, Output& out) {
  pad3d<T>(ctx, x, paddings, mode, value, format, out);
}

template <typename T>
void pad3d_float_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const IntArray& paddings,
                      const std::string& mode, float value, const std::string& format, Output& x_grad) {
  pad3d_grad<T>(ctx, x, out_grad, paddings, mode, value, format, x_grad);
}

ADAPTER_KERNEL("pad3d", pad3d, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("pad3d_grad", pad3d_grad, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("pad3d", pad3d_float, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("pad3d_grad", pad3d_float_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
