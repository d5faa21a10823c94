// Order of the elements along one axis, and the gradient of picking elements by it.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "axis_slices.h"

namespace adapter::kernels {

// NaN counts as larger than every number, as in Paddle.
template <typename T>
bool sorts_before(T a, T b, bool descending) {
  const bool a_nan = a != a, b_nan = b != b;
  if (a_nan || b_nan) return descending ? a_nan && !b_nan : !a_nan && b_nan;
  return descending ? a > b : a < b;
}

// Fills `order` with the positions of the first `wanted` elements in sorted order; equal ones keep their order.
template <typename T>
void sorted_positions(const T* x, int64_t length, int64_t step, int64_t wanted, bool descending,
                      std::vector<int64_t>& order) {
  order.resize(static_cast<size_t>(length));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::partial_sort(order.begin(), order.begin() + wanted, order.end(), [&](int64_t i, int64_t j) {
    const T a = x[i * step], b = x[j * step];
    if (sorts_before(a, b, descending)) return true;
    return !sorts_before(b, a, descending) && i < j;
  });
}

// The first `wanted` elements of every slice along `axis` in sorted order, and where they stood.
template <typename T>
void launch_sort(Context& ctx, const Tensor& x, int64_t axis, int64_t wanted, bool descending, Output& out,
                 Output& indices) {
  Shape shape = x.shape;
  if (shape.rank > 0) shape[x.shape.axis(axis)] = wanted;
  ctx.resize(out, shape);
  ctx.resize(indices, shape);
  T* r = host::out<T>(ctx, out);
  int64_t* places = host::out<int64_t>(ctx, indices);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, slices = AxisSlices(x.shape, axis)] {
    std::vector<int64_t> order;
    slices.each([&](int64_t slice, int64_t offset) {
      sorted_positions(a + offset, slices.length, slices.inner, wanted, descending, order);
      const int64_t start = slice / slices.inner * wanted * slices.inner + slice % slices.inner;
      for (int64_t j = 0; j < wanted; ++j) {
        r[start + j * slices.inner] = a[offset + order[static_cast<size_t>(j)] * slices.inner];
        places[start + j * slices.inner] = order[static_cast<size_t>(j)];
      }
    });
  });
}

// Gives every picked element its gradient, all others zero.
template <typename T>
void launch_unsort(Context& ctx, const Shape& shape, const Tensor& indices, const Tensor& out_grad, int64_t axis,
                   Output& x_grad) {
  ctx.resize(x_grad, shape);
  T* r = host::out<T>(ctx, x_grad);
  const int64_t* places = host::in<int64_t>(indices);
  const T* g = host::in<T>(out_grad);
  const int64_t length = AxisSlices(shape, axis).length, size = shape.numel();
  host::launch(ctx, [=, slices = AxisSlices(indices.shape, axis)] {
    std::fill(r, r + size, T(0));
    slices.each([&](int64_t slice, int64_t offset) {
      const int64_t start = slice / slices.inner * length * slices.inner + slice % slices.inner;
      for (int64_t j = 0; j < slices.length; ++j) {
        const int64_t k = offset + j * slices.inner;
        r[start + places[k] * slices.inner] = g[k];
      }
    });
  });
}

}  // namespace adapter::kernels
