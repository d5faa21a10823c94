#include "accumulate.h"
#include "adapter_sdk/host/reduce.h"
#include "adapter_sdk/kernel.h"
#include "broadcast_grad.h"
#include "copy.h"

namespace adapter::kernels {

// A tiled tensor is its input seen over [repeat_0, dim_0, repeat_1, dim_1, ...] with stride 0 along the repeats. Axes
// that are not repeated are left out, which keeps the rank within Paddle's nine for all but contrived cases.
struct TilePlan {
  Shape result;                      // shape of the output
  Shape space;                       // the interleaved index space
  Shape strides;                     // of the input over it
  std::vector<int64_t> repeat_axes;  // axes of `space` that are repeats
};

inline TilePlan tile_plan(const Shape& x, const IntArray& repeats) {
  TilePlan plan;
  const int rank = std::max(x.rank, static_cast<int>(repeats.size()));
  const Shape own = host::contiguous_strides(x);
  for (int i = 0; i < rank; ++i) {
    const int axis = i - (rank - x.rank);
    const int position = i - (rank - static_cast<int>(repeats.size()));
    const int64_t dim = axis < 0 ? 1 : x[axis];
    const int64_t repeat = position < 0 ? 1 : repeats[static_cast<size_t>(position)];
    if (repeat < 0) throw InvalidArgument("tile with a negative number of repeats");
    plan.result.push_back(dim * repeat);
    if (repeat != 1) {
      plan.repeat_axes.push_back(plan.space.rank);
      plan.space.push_back(repeat);
      plan.strides.push_back(0);
    }
    if (dim != 1 || repeat == 1) {
      plan.space.push_back(dim);
      plan.strides.push_back(axis < 0 ? 0 : own[axis]);
    }
  }
  return plan;
}

template <typename T>
void tile(Context& ctx, const Tensor& x, const IntArray& repeats, Output& out) {
  const TilePlan plan = tile_plan(x.shape, repeats);
  ctx.resize(out, plan.result);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const host::Walk<2> walk(plan.space, {host::contiguous_strides(plan.space), plan.strides});
  host::launch(ctx, [=] { copy_rows(walk, r, a); });
}

template <typename T>
void tile_grad(Context& ctx, const Tensor& x, const Tensor& out_grad, const IntArray& repeats, Output& x_grad) {
  const TilePlan plan = tile_plan(x.shape, repeats);
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  // without repeats nothing is summed; `reduction` takes an empty list for "all axes", so give it an axis of length 1
  Shape space = plan.space;
  std::vector<int64_t> axes = plan.repeat_axes;
  if (axes.empty()) {
    axes.push_back(space.rank);
    space.push_back(1);
  }
  const host::Reduction sums = host::reduction(space, axes, false);
  host::launch(ctx, [=] {
    using Sum = Accumulator<T>;
    host::fold_results<1>(fold_space(sums), host::SumFold<Sum>{}, host::Elements<T>{g},
                          [=](int64_t i, Sum sum) { r[i] = static_cast<T>(sum); });
  });
}

ADAPTER_KERNEL("tile", tile, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t, bool, int8_t)
ADAPTER_KERNEL("tile_grad", tile_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
