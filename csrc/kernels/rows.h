// Taking rows of a table by number, and the gradient: summing rows into a table.
#pragma once

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "bulk.h"
#include "dispatch.h"

namespace adapter::kernels {

// A tensor as `outer` tables of `length` rows of `inner` elements each: rows lie along one axis.
struct Tables {
  int64_t outer = 1, length = 1, inner = 1;

  Tables(int64_t outer_count, int64_t rows, int64_t width) : outer(outer_count), length(rows), inner(width) {}
  Tables(const Shape& shape, int axis)
      : outer(shape.product(0, axis)), length(shape[axis]), inner(shape.product(axis + 1, shape.rank)) {}
};

// A row number that may count from the end. Throws DeviceError, naming the kernel, for a row that does not exist.
inline int64_t checked_row(const char* kernel, int64_t value, int64_t position, int64_t length) {
  if (value < -length || value >= length)
    throw DeviceError(std::string(kernel) + ": index " + std::to_string(value) + " at position " +
                      std::to_string(position) + " is outside an axis of length " + std::to_string(length));
  return value < 0 ? value + length : value;
}

// Calls visit(pointer to the indices) for int32 and int64 index tensors.
template <typename Visit>
void visit_index(const Tensor& index, Visit&& visit) {
  visit_dtype<int32_t, int64_t>(index.dtype, "an index",
                                [&](auto tag) { visit(host::in<typename decltype(tag)::type>(index)); });
}

template <typename Index>
std::vector<int64_t> checked_rows(const char* kernel, const Index* index, int64_t count, int64_t length) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    rows[static_cast<size_t>(i)] = checked_row(kernel, static_cast<int64_t>(index[i]), i, length);
  return rows;
}

// out[o][i] = table[o][rows[i]]; a negative row gives zeros.
template <typename T>
void take_rows(const Tables& tables, const std::vector<int64_t>& rows, const T* table, T* out) {
  const int64_t n = tables.inner, count = static_cast<int64_t>(rows.size());
  copy_pieces(tables.outer * count, n, [&](int64_t i, int64_t first, int64_t m) {
    const int64_t row = rows[static_cast<size_t>(i % count)];
    const T* from = table + (i / count * tables.length + row) * n + first;
    T* to = out + i * n + first;
    if (row < 0)
      std::fill(to, to + m, T(0));
    else if (m == 1)
      *to = *from;
    else
      std::memcpy(to, from, static_cast<size_t>(m) * sizeof(T));
  });
}

// Positions of `rows`, those of equal rows together and in order; negative rows left out.
inline std::vector<int64_t> positions_by_row(const std::vector<int64_t>& rows) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i] >= 0) order.push_back(static_cast<int64_t>(i));
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return rows[static_cast<size_t>(a)] < rows[static_cast<size_t>(b)]; });
  return order;
}

// table[o][r] = sum of values[o][i] over all i with rows[i] == r, held in the accumulator; rows never named keep what
// they hold.
template <typename T>
void sum_rows(const Tables& tables, const std::vector<int64_t>& rows, const T* values, T* table) {
  using Sum = Accumulator<T>;
  const int64_t n = tables.inner, count = static_cast<int64_t>(rows.size());
  const std::vector<int64_t> order = positions_by_row(rows);
  std::vector<size_t> starts;  // in `order`, of each row that is named
  for (size_t i = 0; i < order.size(); ++i)
    if (i == 0 || rows[static_cast<size_t>(order[i])] != rows[static_cast<size_t>(order[i - 1])]) starts.push_back(i);
  const int64_t named = static_cast<int64_t>(starts.size());
  starts.push_back(order.size());
  host::parallel_for(tables.outer * named, host::rows_grain(n), [&](int64_t begin, int64_t end) {
    std::vector<Sum> sums(static_cast<size_t>(n));
    Sum* sum = sums.data();
    for (int64_t item = begin; item < end; ++item) {
      const auto group = static_cast<size_t>(item % named);
      const T* own = values + item / named * count * n;
      std::fill(sum, sum + n, Sum(0));
      for (size_t i = starts[group]; i < starts[group + 1]; ++i) {
        const T* value = own + order[i] * n;
        for (int64_t j = 0; j < n; ++j) sum[j] += static_cast<Sum>(static_cast<Compute<T>>(value[j]));
      }
      T* to = table + (item / named * tables.length + rows[static_cast<size_t>(order[starts[group]])]) * n;
      for (int64_t j = 0; j < n; ++j) to[j] = static_cast<T>(sum[j]);
    }
  });
}

// out = rows of x along `axis`, named by `index`. The shape of `out` is set by the caller.
template <typename T>
void launch_take_rows(Context& ctx, const char* kernel, const Tensor& x, const Tensor& index, int axis, Output& out) {
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const int64_t count = index.numel();
  visit_index(index, [&](const auto* numbers) {
    host::launch(ctx, [=, tables = Tables(x.shape, axis)] {
      take_rows(tables, checked_rows(kernel, numbers, count, tables.length), a, r);
    });
  });
}

// The gradient of launch_take_rows.
template <typename T>
void launch_sum_rows(Context& ctx, const char* kernel, const Shape& shape, const Tensor& index, const Tensor& out_grad,
                     int axis, Output& x_grad) {
  ctx.resize(x_grad, shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  const int64_t count = index.numel(), size = shape.numel();
  visit_index(index, [&](const auto* numbers) {
    host::launch(ctx, [=, tables = Tables(shape, axis)] {
      fill_all(r, size, T(0));
      sum_rows(tables, checked_rows(kernel, numbers, count, tables.length), g, r);
    });
  });
}

}  // namespace adapter::kernels
