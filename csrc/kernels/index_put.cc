// out = x, with out[indices...] = value, or += value. The index tensors broadcast to one shape and pick from the first
// axes of x; a bool tensor stands for the coordinates of its true elements.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "adapter_sdk/host/strided.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "rows.h"

namespace adapter::kernels {

// One int index tensor, or one axis of a bool one (then `owned` holds the coordinates).
struct IndexColumn {
  const int32_t* narrow = nullptr;
  const int64_t* wide = nullptr;
  std::shared_ptr<std::vector<int64_t>> owned;
  Shape shape;

  int64_t operator[](int64_t i) const { return narrow ? narrow[i] : wide[i]; }
};

// Reads a bool index on the host. Throws InvalidArgument for a dtype that cannot be an index.
inline std::vector<IndexColumn> index_columns(Context& ctx, const TensorList& indices) {
  std::vector<IndexColumn> columns;
  for (const Tensor& t : indices) {
    if (t.dtype == DType::int64) {
      columns.push_back({nullptr, host::in<int64_t>(t), nullptr, t.shape});
    } else if (t.dtype == DType::int32) {
      columns.push_back({host::in<int32_t>(t), nullptr, nullptr, t.shape});
    } else if (t.dtype == DType::boolean) {
      std::vector<uint8_t> chosen(static_cast<size_t>(t.numel()));
      ctx.read(chosen.data(), t);
      const int64_t count = std::count_if(chosen.begin(), chosen.end(), [](uint8_t c) { return c != 0; });
      const Shape strides = host::contiguous_strides(t.shape);
      for (int axis = 0; axis < t.shape.rank; ++axis) {
        auto owned = std::make_shared<std::vector<int64_t>>();
        for (size_t i = 0; i < chosen.size(); ++i)
          if (chosen[i]) owned->push_back(static_cast<int64_t>(i) / strides[axis] % t.shape[axis]);
        columns.push_back({nullptr, owned->data(), owned, Shape{count}});
      }
    } else {
      throw InvalidArgument(std::string("index_put: an index tensor of dtype ") + name_of(t.dtype));
    }
  }
  return columns;
}

struct PutPlan {
  std::vector<IndexColumn> columns;
  std::vector<Shape> column_strides;
  Shape picked, rest;  // the index tensors' common shape, and the axes of x behind the indexed ones
  Shape x_shape;
  Shape value_over_picked, value_over_rest;  // strides of the value

  // Throws InvalidArgument where shapes do not fit.
  PutPlan(Context& ctx, const Shape& x, const TensorList& indices, const Shape& value)
      : columns(index_columns(ctx, indices)), x_shape(x) {
    const int used = static_cast<int>(columns.size());
    if (used == 0 || used > x.rank)
      throw InvalidArgument("index_put: " + std::to_string(used) + " indices for a tensor of shape " + to_string(x));
    for (const IndexColumn& c : columns) picked = host::broadcast_shape(picked, c.shape);
    for (const IndexColumn& c : columns) column_strides.push_back(host::broadcast_strides(c.shape, picked));
    for (int i = used; i < x.rank; ++i) rest.push_back(x[i]);
    Shape whole = picked;
    for (int64_t n : rest) whole.push_back(n);
    if (host::broadcast_shape(value, whole) != whole)
      throw InvalidArgument("index_put: a value of shape " + to_string(value) + " does not fit a selection of " +
                            to_string(whole));
    const Shape strides = host::broadcast_strides(value, whole);
    value_over_picked = Shape(strides.begin(), strides.begin() + picked.rank);
    value_over_rest = Shape(strides.begin() + picked.rank, strides.end());
  }
  int64_t width() const { return rest.numel(); }

  // Number of the row of x, in rows of width(), that each pick names. To be called inside launch().
  std::vector<int64_t> rows() const {
    std::vector<int64_t> result(static_cast<size_t>(picked.numel()), 0);
    for (size_t k = 0; k < columns.size(); ++k) {
      const int64_t length = x_shape[static_cast<int>(k)];
      size_t i = 0;
      host::Walk<1>(picked, {column_strides[k]}).rows([&](const std::array<int64_t, 1>& o, int64_t n) {
        const int64_t step = n > 1 ? host::Walk<1>(picked, {column_strides[k]}).inner_stride(0) : 0;
        for (int64_t j = 0; j < n; ++j, ++i)
          result[i] = result[i] * length +
                      checked_row("index_put", columns[k][o[0] + j * step], static_cast<int64_t>(i), length);
      });
    }
    return result;
  }
  static std::vector<int64_t> offsets(const Shape& space, const Shape& strides) {
    std::vector<int64_t> result;
    const host::Walk<1> walk(space, {strides});
    walk.rows([&](const std::array<int64_t, 1>& o, int64_t n) {
      for (int64_t j = 0; j < n; ++j) result.push_back(o[0] + j * walk.inner_stride(0));
    });
    return result;
  }
};

// Of picks that name one row the last one counts; added values are summed in their order and rounded once.
template <typename T>
void index_put(Context& ctx, const Tensor& x, const TensorList& indices, const Tensor& value, bool accumulate,
               Output& out) {
  using Sum = std::conditional_t<std::is_same_v<T, bool>, bool, Accumulator<T>>;
  PutPlan plan(ctx, x.shape, indices, value.shape);
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T *a = host::in<T>(x), *v = host::in<T>(value);
  const int64_t size = x.numel();
  host::launch(ctx, [=, plan = std::move(plan)] {
    copy_all(r, a, size);
    const std::vector<int64_t> rows = plan.rows(), order = positions_by_row(rows);
    const std::vector<int64_t> from = PutPlan::offsets(plan.picked, plan.value_over_picked),
                               along = PutPlan::offsets(plan.rest, plan.value_over_rest);
    std::vector<size_t> starts;
    for (size_t i = 0; i < order.size(); ++i)
      if (i == 0 || rows[static_cast<size_t>(order[i])] != rows[static_cast<size_t>(order[i - 1])]) starts.push_back(i);
    starts.push_back(order.size());
    const int64_t width = plan.width();
    host::parallel_for(
        static_cast<int64_t>(starts.size()) - 1, host::rows_grain(width), [&](int64_t begin, int64_t end) {
          for (int64_t group = begin; group < end; ++group) {
            const size_t first = starts[static_cast<size_t>(group)], last = starts[static_cast<size_t>(group) + 1];
            T* to = r + rows[static_cast<size_t>(order[first])] * width;
            for (int64_t j = 0; j < width; ++j) {
              const auto at = [&](size_t i) {
                return v[from[static_cast<size_t>(order[i])] + along[static_cast<size_t>(j)]];
              };
              if (!accumulate) {
                to[j] = at(last - 1);
                continue;
              }
              Sum sum = static_cast<Sum>(to[j]);
              for (size_t i = first; i < last; ++i) sum = static_cast<Sum>(sum + static_cast<Sum>(at(i)));
              to[j] = static_cast<T>(sum);
            }
          }
        });
  });
}

// x's gradient passes everywhere but where it was overwritten; the value's is what stands at its places, summed where
// it was broadcast.
template <typename T>
void index_put_grad(Context& ctx, const Tensor& x, const TensorList& indices, const Tensor& value,
                    const Tensor& out_grad, bool accumulate, Output& x_grad, Output& value_grad) {
  using Sum = Accumulator<T>;
  PutPlan plan(ctx, x.shape, indices, value.shape);
  T* dv = nullptr;
  if (value_grad) {
    ctx.resize(value_grad, value.shape);
    dv = host::out<T>(ctx, value_grad);
  }
  if (x_grad) ctx.resize(x_grad, x.shape);
  T* dx = x_grad ? host::out<T>(ctx, x_grad) : nullptr;  // may lie in the storage of out_grad
  const T* g = host::in<T>(out_grad);
  const int64_t size = x.numel(), value_size = value.numel();
  host::launch(ctx, [=, plan = std::move(plan)] {
    const std::vector<int64_t> rows = plan.rows();
    const int64_t width = plan.width();
    if (dv) {
      const std::vector<int64_t> from = PutPlan::offsets(plan.picked, plan.value_over_picked),
                                 along = PutPlan::offsets(plan.rest, plan.value_over_rest);
      std::vector<Sum> sums(static_cast<size_t>(value_size));
      for (size_t i = 0; i < rows.size(); ++i)
        for (int64_t j = 0; j < width; ++j)
          sums[static_cast<size_t>(from[i] + along[static_cast<size_t>(j)])] +=
              static_cast<Sum>(static_cast<Compute<T>>(g[rows[i] * width + j]));
      std::transform(sums.begin(), sums.end(), dv, [](Sum sum) { return static_cast<T>(sum); });
    }
    if (dx == nullptr) return;
    copy_all(dx, g, size);
    for (size_t i = 0; !accumulate && i < rows.size(); ++i) std::fill_n(dx + rows[i] * width, width, T(0));
  });
}

ADAPTER_KERNEL("index_put", index_put, wide, float, double, float16, bfloat16, int32_t, int64_t, bool, int8_t, uint8_t)
ADAPTER_KERNEL("index_put_grad", index_put_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
