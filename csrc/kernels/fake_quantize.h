// Numbers rounded to a grid of integers, as Paddle's quantization operators do it: q = round(range / scale * x), where
// `range` is the largest integer of the grid, 2^(bits - 1) - 1, and stands for `scale`.
#pragma once

#include <cmath>

#include "adapter_sdk/host/elementwise.h"
#include "bulk.h"
#include "numbers.h"

namespace adapter::kernels {

// How a number becomes an integer: Paddle's round_type 0 rounds halves to even and limits the result to
// [-range - 1, range], 1 limits x to [-scale, scale] and rounds halves away from zero.
struct Grid {
  int32_t range;
  bool to_even;

  Grid(int32_t largest, int32_t round_type) : range(largest), to_even(round_type == 0) {
    if (round_type != 0 && round_type != 1)
      throw InvalidArgument("round_type has to be 0 (halves to even) or 1 (away from zero), got " +
                            std::to_string(round_type));
    if (range == 448 || range == 57344)
      throw Unimplemented("quantization to an 8-bit float (largest number " + std::to_string(range) +
                          "): only grids of integers are supported");
  }
  static Grid of_bits(int32_t bits, int32_t round_type) {
    if (bits < 2 || bits > 16) throw InvalidArgument("bit_length has to be 2 to 16, got " + std::to_string(bits));
    return {(1 << (bits - 1)) - 1, round_type};
  }
};

// A grid with its scale, in the type of intermediates. A scale of (almost) nothing does not divide by zero.
template <typename C>
struct ScaledGrid {
  C scale, factor, low, high;
  bool to_even;

  ScaledGrid(const Grid& grid, C value) : scale(value), high(static_cast<C>(grid.range)), to_even(grid.to_even) {
    const C inverse = value <= C(1e-30) ? C(1) / (value + C(1e-6)) : C(1) / value;
    factor = high * inverse;
    low = -high - C(1);
  }
  C integer(C x) const {
    if (to_even) {
      const C q = std::nearbyint(factor * x);
      return q > high ? high : q < low ? low : q;
    }
    const C v = x > scale ? scale : x < -scale ? -scale : x;
    return std::round(factor * v);
  }
  C number(C q) const { return q * scale / high; }
};

// Elements that share a scale: those at one place of an axis, or all of them (count 1).
struct Channels {
  int64_t outer = 1, count = 1, inner = 1;

  // quant_axis below zero: one scale for all.
  Channels(const Shape& shape, int32_t quant_axis) {
    if (quant_axis < 0) {
      inner = shape.numel();
      return;
    }
    const int axis = shape.axis(quant_axis);
    outer = shape.product(0, axis);
    count = shape.rank == 0 ? 1 : shape[axis];
    inner = shape.product(axis + 1, shape.rank);
  }
  void require_scales(const Tensor& scale) const {
    if (scale.numel() != count)
      throw InvalidArgument("x has " + std::to_string(count) + " channels, but " + to_string(scale.shape) + " scales");
  }
};

// The largest |x| of n elements; a NaN is passed over, as in Paddle.
template <typename T>
Compute<T> largest_magnitude(const T* x, int64_t n) {
  Compute<T> peak = 0;
  for (int64_t i = 0; i < n; ++i) {
    const Compute<T> size = std::fabs(static_cast<Compute<T>>(x[i]));
    peak = size > peak ? size : peak;
  }
  return peak;
}

// The largest |x| of every channel.
template <typename T>
std::vector<Compute<T>> channel_magnitudes(const Channels& channels, const T* x) {
  using C = Compute<T>;
  if (channels.count == 1) {
    const int64_t n = channels.outer * channels.inner, grain = host::kElementGrain;
    std::vector<C> parts(static_cast<size_t>((n + grain - 1) / grain + 1));
    host::parallel_for(n, grain, [&](int64_t begin, int64_t end) {
      parts[static_cast<size_t>(begin / grain)] = largest_magnitude(x + begin, end - begin);
    });
    return {*std::max_element(parts.begin(), parts.end())};
  }
  std::vector<C> peaks(static_cast<size_t>(channels.count));
  const int64_t together = std::max<int64_t>(host::rows_grain(channels.outer * channels.inner), 64);
  host::parallel_for(channels.count, together, [&](int64_t begin, int64_t end) {
    for (int64_t o = 0; o < channels.outer; ++o)
      for (int64_t c = begin; c < end; ++c) {
        C& peak = peaks[static_cast<size_t>(c)];
        const C size = largest_magnitude(x + (o * channels.count + c) * channels.inner, channels.inner);
        peak = size > peak ? size : peak;
      }
  });
  return peaks;
}

// r[i] = op(channel, x[i])
template <typename In, typename Out, typename Op>
void map_channels(const Channels& channels, const In* x, Out* r, Op&& op) {
  if (channels.inner >= 16 || channels.count == 1) {  // long runs of one channel
    copy_pieces(channels.outer * channels.count, channels.inner, [&](int64_t run, int64_t first, int64_t n) {
      const int64_t c = run % channels.count, at = run * channels.inner + first;
      host::map(x + at, r + at, n, [&](Compute<In> v) { return op(c, v); });
    });
    return;
  }
  const int64_t row = channels.count * channels.inner;
  host::parallel_for(channels.outer, host::rows_grain(row), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * row; i < end * row; ++i)
      r[i] = static_cast<Out>(op(i / channels.inner % channels.count, static_cast<Compute<In>>(x[i])));
  });
}

// What becomes of the integers.
enum class GridResult { integers, numbers };

// r = the integers of x, or the numbers they stand for.
template <GridResult result, typename T>
void quantize_channels(const Channels& channels, const Grid& grid, const std::vector<Compute<T>>& scales, const T* x,
                       T* r) {
  using C = Compute<T>;
  std::vector<ScaledGrid<C>> grids;
  for (const C scale : scales) grids.emplace_back(grid, scale);
  map_channels(channels, x, r, [&](int64_t c, C v) {
    const ScaledGrid<C>& own = grids[static_cast<size_t>(c)];
    const C q = own.integer(v);
    return result == GridResult::integers ? q : own.number(q);
  });
}

template <typename C>
std::vector<C> scales_in(const Numbers& numbers, int64_t count) {
  std::vector<C> scales(static_cast<size_t>(count));
  numbers.read(0, count, scales.data());
  return scales;
}

// Numbers rounded to the dtype of a scale that is stored: what was measured and what is used must be the same.
template <typename T>
void store_measured(std::vector<Compute<T>>& scales, T* to) {
  for (size_t i = 0; i < scales.size(); ++i) {
    to[i] = static_cast<T>(scales[i]);
    scales[i] = static_cast<Compute<T>>(to[i]);
  }
}

// The running mean of scales, weighed with rate^age: scale = accum / state.
template <typename T>
struct MovingAverage {
  Numbers in_accum, in_state;
  T *state = nullptr, *accum = nullptr, *scale = nullptr;
  float rate = 0;

  // Outputs that nobody wants are skipped. Throws InvalidArgument without the two inputs.
  MovingAverage(Context& ctx, const OptionalTensor& accum_before, const OptionalTensor& state_before, float weight,
                Output& out_scale, Output& out_state, Output& out_accum)
      : rate(weight) {
    if (!accum_before || !state_before)
      throw InvalidArgument("a moving average of scales needs in_accum and in_state in training");
    in_accum = Numbers(accum_before, "in_accum");
    in_state = Numbers(state_before, "in_state");
    for (auto& [output, place] :
         {std::pair<Output*, T**>{&out_scale, &scale}, {&out_state, &state}, {&out_accum, &accum}}) {
      if (!*output) continue;
      ctx.resize(*output, Shape{1});
      *place = host::out<T>(ctx, *output);
    }
  }
  // Takes in the largest magnitude of now; the new scale.
  Compute<T> update(Compute<T> current) const {
    using C = Compute<T>;
    const C new_state = static_cast<C>(rate) * in_state.at<C>(0) + C(1);
    const C new_accum = static_cast<C>(rate) * in_accum.at<C>(0) + current;
    const T rounded = static_cast<T>(new_accum / new_state);
    if (state != nullptr) *state = static_cast<T>(new_state);
    if (accum != nullptr) *accum = static_cast<T>(new_accum);
    if (scale != nullptr) *scale = rounded;
    return static_cast<C>(rounded);
  }
};

// An output that keeps what an input says; it may lie in that input's storage. Skips one that nobody wants.
template <typename T>
void carry_over(Context& ctx, const Tensor& from, Output& to) {
  if (!to) return;
  ctx.resize(to, from.shape);
  T* r = host::out<T>(ctx, to);
  const Numbers numbers(from, "a statistic of quantization");
  const int64_t n = from.numel();
  host::launch(ctx, [=] {
    const std::vector<Compute<T>> values = scales_in<Compute<T>>(numbers, n);
    host::narrow(values.data(), r, 1, n);
  });
}

// The same for an optional input: without it there is nothing to say.
template <typename T>
void carry_over(Context& ctx, const OptionalTensor& from, Output& to) {
  if (from) return carry_over<T>(ctx, static_cast<const Tensor&>(from), to);
  if (!to) return;
  ctx.resize(to, Shape{0});
  host::out<T>(ctx, to);
}

// Whether a mean of scales is updated, or only used.
template <GridResult result, typename T>
void launch_moving_average(Context& ctx, const Tensor& x, const Grid& grid, const MovingAverage<T>& average,
                           bool only_observer, Output& out) {
  T* r = nullptr;
  if (out) {
    ctx.resize(out, x.shape);
    r = host::out<T>(ctx, out);
  }
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, n = x.numel(), all = Channels(x.shape, -1)] {
    const Compute<T> scale = average.update(channel_magnitudes(all, a).front());
    if (r == nullptr) return;
    if (only_observer) return copy_all(r, a, n);
    quantize_channels<result>(all, grid, {scale}, a, r);
  });
}

// With scales that are measured channel by channel, and stored.
template <GridResult result, typename T>
void launch_measured(Context& ctx, const Tensor& x, const Grid& grid, int32_t quant_axis, bool only_observer,
                     Output& out, Output& out_scale) {
  const Channels channels(x.shape, quant_axis);
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  T* s = nullptr;
  if (out_scale) {
    ctx.resize(out_scale, Shape{channels.count});
    s = host::out<T>(ctx, out_scale);
  }
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, n = x.numel()] {
    std::vector<Compute<T>> scales = channel_magnitudes(channels, a);
    std::vector<T> stored(scales.size());
    store_measured(scales, stored.data());
    if (s != nullptr) std::copy(stored.begin(), stored.end(), s);
    if (only_observer) return copy_all(r, a, n);
    quantize_channels<result>(channels, grid, scales, a, r);
  });
}

// With scales that are given.
template <GridResult result, typename T>
void launch_given(Context& ctx, const Tensor& x, const Tensor& scale, const Grid& grid, int32_t quant_axis,
                  bool only_observer, Output& out) {
  const Channels channels(x.shape, quant_axis);
  channels.require_scales(scale);
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const Numbers numbers(scale, "a scale");
  host::launch(ctx, [=, n = x.numel()] {
    if (only_observer) return copy_all(r, a, n);
    quantize_channels<result>(channels, grid, scales_in<Compute<T>>(numbers, channels.count), a, r);
  });
}

}  // namespace adapter::kernels
