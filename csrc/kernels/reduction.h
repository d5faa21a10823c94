// What the reductions over any set of axes share.
#pragma once

#include <utility>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/reduce.h"
#include "broadcast_grad.h"

namespace adapter::kernels {

// Which axes a reduction removes; no axes at all means every axis.
struct ReducedAxes {
  std::array<bool, kMaxRank> reduced{};

  ReducedAxes(const Shape& shape, const std::vector<int64_t>& axes, bool reduce_all) {
    if (reduce_all || axes.empty()) reduced.fill(true);
    for (int64_t axis : axes) reduced[static_cast<size_t>(shape.axis(axis))] = true;
  }
  bool operator[](int axis) const { return reduced[static_cast<size_t>(axis)]; }
};

// Shape of the result.
inline Shape reduced_shape(const Shape& shape, const std::vector<int64_t>& axes, bool keep_dim, bool reduce_all) {
  const ReducedAxes reduced(shape, axes, reduce_all);
  Shape result;
  for (int i = 0; i < shape.rank; ++i) {
    if (!reduced[i])
      result.push_back(shape[i]);
    else if (keep_dim)
      result.push_back(1);
  }
  return result;
}

// Strides with which the result is read over the index space of the input: 0 along the reduced axes.
inline Shape result_strides(const Shape& shape, const std::vector<int64_t>& axes, bool reduce_all) {
  const ReducedAxes reduced(shape, axes, reduce_all);
  Shape strides;
  strides.rank = shape.rank;
  int64_t step = 1;
  for (int i = shape.rank - 1; i >= 0; --i) {
    if (reduced[i]) continue;
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

// Number of elements that each result is made of.
inline int64_t reduced_count(const Shape& shape, const std::vector<int64_t>& axes, bool reduce_all) {
  return host::reduction(shape, axes, reduce_all).inner();
}

// out[i] = finish(what `fold` makes of the elements of x that belong to result i).
template <typename T, typename Out, typename Fold, typename Finish>
void reduce(Context& ctx, const Tensor& x, const std::vector<int64_t>& axes, bool keep_dim, bool reduce_all,
            Output& out, Fold fold, Finish finish) {
  ctx.resize(out, reduced_shape(x.shape, axes, keep_dim, reduce_all));
  Out* r = host::out<Out>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, space = fold_space(host::reduction(x.shape, axes, reduce_all))] {
    host::fold_results<1>(space, fold, host::Elements<T>{a},
                          [=](int64_t i, typename Fold::State state) { r[i] = static_cast<Out>(finish(state)); });
  });
}

// x_grad[k] = term(k, i) for every element k of the input and the result i that it belongs to.
template <typename T, typename Term>
void reduce_grad(Context& ctx, const Shape& shape, const std::vector<int64_t>& axes, bool reduce_all, Output& x_grad,
                 Term term) {
  if (!x_grad) return;
  ctx.resize(x_grad, shape);
  T* r = host::out<T>(ctx, x_grad);
  const host::Walk<2> walk(shape, {host::contiguous_strides(shape), result_strides(shape, axes, reduce_all)});
  host::launch(ctx, [=] {
    const int64_t result_step = walk.inner_stride(1);
    host::parallel_rows(walk, [&](const std::array<int64_t, 2>& o, int64_t n) {
      const int64_t first = o[0], result = o[1];
      if (result_step == 0) {
        ADAPTER_INDEPENDENT
        for (int64_t j = 0; j < n; ++j) r[first + j] = static_cast<T>(term(first + j, result));
      } else {
        ADAPTER_INDEPENDENT
        for (int64_t j = 0; j < n; ++j) r[first + j] = static_cast<T>(term(first + j, result + j * result_step));
      }
    });
  });
}

}  // namespace adapter::kernels
