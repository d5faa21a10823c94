#include <algorithm>
#include <cmath>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "axis_slices.h"
#include "fast_exp.h"
#include "row_folds.h"

namespace adapter::kernels {

// Calls row(n values of each operand and of the result in Compute<T>) for every slice along `axis`, in which the result
// is left in the last of them. r may be one of the operands.
template <typename T, size_t N, typename Row>
void map_slices(const AxisSlices& slices, const std::array<const T*, N>& operands, T* r, Row row) {
  using C = Compute<T>;
  const int64_t n = slices.length, step = slices.inner;
  slices.each([=] { return std::vector<C>(static_cast<size_t>(n) * (N + 1)); },
              [&](int64_t, int64_t offset, std::vector<C>& scratch) {
                std::array<const C*, N> values;
                for (size_t k = 0; k < N; ++k) {
                  C* own = scratch.data() + static_cast<int64_t>(k) * n;
                  values[k] = own;
                  if constexpr (std::is_same_v<C, T>) {
                    if (step == 1) {
                      values[k] = operands[k] + offset;
                      continue;
                    }
                  }
                  host::widen(operands[k] + offset, step, own, n);
                }
                C* result = scratch.data() + static_cast<int64_t>(N) * n;
                if constexpr (std::is_same_v<C, T>) {
                  if (step == 1) return row(values, r + offset, n);
                }
                row(values, result, n);
                host::narrow(result, r + offset, step, n);
              });
}

// One row of n elements; the results may replace an operand.
template <typename Sum, typename C>
ADAPTER_WIDE_VECTORS void softmax_row(const C* v, C* y, int64_t n) {
  const C peak = row_max(v, n);
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) y[j] = exp_of(v[j] - peak);
  const C* power = y;
  const C factor = static_cast<C>(1 / row_sum<Sum>(n, [=](int64_t j) { return power[j]; }));
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) y[j] *= factor;
}

template <typename Sum, typename C>
ADAPTER_WIDE_VECTORS void softmax_slope_row(const C* p, const C* d, C* dx, int64_t n) {
  const Sum dot = row_sum<Sum>(n, [=](int64_t j) { return static_cast<Sum>(p[j]) * static_cast<Sum>(d[j]); });
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) dx[j] = static_cast<C>(static_cast<Sum>(p[j]) * (static_cast<Sum>(d[j]) - dot));
}

template <typename Sum, typename C>
ADAPTER_WIDE_VECTORS void log_softmax_row(const C* v, C* y, int64_t n) {
  const C peak = row_max(v, n);
  const Sum log_total = std::log(row_sum<Sum>(n, [=](int64_t j) { return exp_of(v[j] - peak); }));
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) y[j] = static_cast<C>(static_cast<Sum>(v[j] - peak) - log_total);
}

template <typename Sum, typename C>
ADAPTER_WIDE_VECTORS void log_softmax_slope_row(const C* v, const C* d, C* dx, int64_t n) {
  const Sum total = row_sum<Sum>(n, [=](int64_t j) { return d[j]; });
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j)
    dx[j] = static_cast<C>(static_cast<Sum>(d[j]) - static_cast<Sum>(exp_of(v[j])) * total);
}

// Calls row(n values of x, their results, n) for every slice of x along `axis`.
template <typename T, typename Row>
void along_axis(Context& ctx, const Tensor& x, int32_t axis, Output& out, Row row) {
  using C = Compute<T>;
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, slices = AxisSlices(x.shape, axis)] {
    map_slices<T, 1>(slices, {a}, r, [=](const std::array<const C*, 1>& in, C* y, int64_t n) { row(in[0], y, n); });
  });
}

// The same for a gradient: row(n values of out, of out_grad, their results, n).
template <typename T, typename Row>
void slope_along_axis(Context& ctx, const Tensor& out, const Tensor& out_grad, int32_t axis, Output& x_grad, Row row) {
  using C = Compute<T>;
  ctx.resize(x_grad, out.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* y = host::in<T>(out);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=, slices = AxisSlices(out.shape, axis)] {
    map_slices<T, 2>(slices, {y, g}, r,
                     [=](const std::array<const C*, 2>& in, C* dx, int64_t n) { row(in[0], in[1], dx, n); });
  });
}

template <typename T>
void softmax(Context& ctx, const Tensor& x, int32_t axis, Output& out) {
  along_axis<T>(ctx, x, axis, out, [](auto* v, auto* y, int64_t n) { softmax_row<Accumulator<T>>(v, y, n); });
}

// x_grad = out * (out_grad - sum(out * out_grad))
template <typename T>
void softmax_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, int32_t axis, Output& x_grad) {
  slope_along_axis<T>(ctx, out, out_grad, axis, x_grad,
                      [](auto* p, auto* d, auto* dx, int64_t n) { softmax_slope_row<Accumulator<T>>(p, d, dx, n); });
}

template <typename T>
void log_softmax(Context& ctx, const Tensor& x, int32_t axis, Output& out) {
  along_axis<T>(ctx, x, axis, out, [](auto* v, auto* y, int64_t n) { log_softmax_row<Accumulator<T>>(v, y, n); });
}

// x_grad = out_grad - exp(out) * sum(out_grad)
template <typename T>
void log_softmax_grad(Context& ctx, const Tensor& out, const Tensor& out_grad, int32_t axis, Output& x_grad) {
  slope_along_axis<T>(ctx, out, out_grad, axis, x_grad, [](auto* v, auto* d, auto* dx, int64_t n) {
    log_softmax_slope_row<Accumulator<T>>(v, d, dx, n);
  });
}

ADAPTER_KERNEL("softmax", softmax, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("softmax_grad", softmax_grad, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("log_softmax", log_softmax, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("log_softmax_grad", log_softmax_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
