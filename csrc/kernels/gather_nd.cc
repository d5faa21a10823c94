#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "rows.h"

namespace adapter::kernels {

// index[..., depth] names slices of x by their first `depth` coordinates.
struct SliceNames {
  Shape axes;  // the axes that are named
  int64_t count, width;

  SliceNames(const Shape& x, const Shape& index) {
    const int64_t depth = index.rank > 0 ? index[index.rank - 1] : 0;
    if (index.rank == 0 || depth > x.rank)
      throw InvalidArgument("gather_nd cannot take " + to_string(index) + " coordinates from a tensor of " +
                            to_string(x));
    axes = Shape(x.begin(), x.begin() + depth);
    count = index.product(0, index.rank - 1);
    width = x.product(static_cast<int>(depth), x.rank);
  }
  Tables tables() const { return {1, axes.numel(), width}; }

  template <typename Index>
  std::vector<int64_t> rows(const Index* index) const {
    std::vector<int64_t> result(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      int64_t row = 0;
      for (int axis = 0; axis < axes.rank; ++axis)
        row = row * axes[axis] + checked_row("gather_nd", static_cast<int64_t>(*index++), i, axes[axis]);
      result[static_cast<size_t>(i)] = row;
    }
    return result;
  }
};

template <typename T>
void gather_nd(Context& ctx, const Tensor& x, const Tensor& index, Output& out) {
  const SliceNames names(x.shape, index.shape);
  Shape shape(index.shape.begin(), index.shape.end() - 1);
  for (int axis = names.axes.rank; axis < x.shape.rank; ++axis) shape.push_back(x.shape[axis]);
  ctx.resize(out, shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  visit_index(index, [&](const auto* numbers) {
    host::launch(ctx, [=] { take_rows(names.tables(), names.rows(numbers), a, r); });
  });
}

template <typename T>
void gather_nd_grad(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& out_grad, Output& x_grad) {
  const SliceNames names(x.shape, index.shape);
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  const int64_t size = x.numel();
  visit_index(index, [&](const auto* numbers) {
    host::launch(ctx, [=] {
      fill_all(r, size, T(0));
      sum_rows(names.tables(), names.rows(numbers), g, r);
    });
  });
}

ADAPTER_KERNEL("gather_nd", gather_nd, none, float, double, float16, bfloat16, int32_t, int64_t, bool, uint8_t, int8_t,
               int16_t)
ADAPTER_KERNEL("gather_nd_grad", gather_nd_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
