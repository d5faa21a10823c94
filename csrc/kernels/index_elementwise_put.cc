// x[index...] = value: what Paddle calls for assigning through integer tensors (since 3.1.1).
#include <algorithm>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "index_plan.h"

namespace adapter::kernels {

// Strides with which a value is read over the index space. Throws InvalidArgument where it does not fit.
inline Shape value_over_space(const Shape& value, const Shape& space) {
  Shape fitting = value;
  while (fitting.rank > space.rank && fitting[0] == 1) fitting = Shape(fitting.begin() + 1, fitting.end());
  if (host::broadcast_shape(fitting, space) != space)
    throw InvalidArgument("a value of shape " + to_string(value) + " does not fit a selection of " + to_string(space));
  return host::broadcast_strides(fitting, space);
}

// Places of the index space's elements, in row-major order, in an operand with these strides.
inline std::vector<int64_t> places_over_space(const Shape& space, const Shape& strides) {
  std::vector<int64_t> places;
  const host::Walk<1> walk(space, {strides});
  walk.rows([&](const std::array<int64_t, 1>& o, int64_t n) {
    for (int64_t i = 0; i < n; ++i) places.push_back(o[0] + i * walk.inner_stride(0));
  });
  return places;
}

// Of several values for one place the last one counts.
template <typename T>
void index_elementwise_put_with_tensor(Context& ctx, const Tensor& x, const TensorList& index, const Tensor& value,
                                       const std::vector<int64_t>& input_dims,
                                       const std::vector<int64_t>& input_strides,
                                       const std::vector<int64_t>& index_dims,
                                       const std::vector<int64_t>& index_strides, int64_t slice_offset, Output& out) {
  IndexPlan plan = index_plan<T>(index, input_dims, input_strides, index_dims, index_strides, slice_offset);
  const Shape strides = value_over_space(value.shape, plan.space);
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T *a = host::in<T>(x), *v = host::in<T>(value);
  host::launch(ctx, [=, n = x.numel(), plan = std::move(plan)] {
    copy_all(r, a, n);
    const std::vector<int64_t> from = places_over_space(plan.space, strides);
    each_indexed(plan, [&](int64_t i, int64_t position) { r[position] = v[from[static_cast<size_t>(i)]]; });
  });
}

template <typename T>
void index_elementwise_put(Context& ctx, const Tensor& x, const TensorList& index, const Scalar& value,
                           const std::vector<int64_t>& input_dims, const std::vector<int64_t>& input_strides,
                           const std::vector<int64_t>& index_dims, const std::vector<int64_t>& index_strides,
                           int64_t slice_offset, Output& out) {
  IndexPlan plan = index_plan<T>(index, input_dims, input_strides, index_dims, index_strides, slice_offset);
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const T number = value.to<T>();
  host::launch(ctx, [=, n = x.numel(), plan = std::move(plan)] {
    copy_all(r, a, n);
    each_indexed(plan, [&](int64_t, int64_t position) { r[position] = number; });
  });
}

// x's gradient passes everywhere but at the places that were overwritten; the value's is what stands there, summed
// where it was broadcast. x_grad may lie in the storage of out_grad.
template <typename T>
void index_elementwise_put_with_tensor_grad(Context& ctx, const Tensor& x, const TensorList& index, const Tensor& value,
                                            const Tensor& out_grad, const std::vector<int64_t>& input_dims,
                                            const std::vector<int64_t>& input_strides,
                                            const std::vector<int64_t>& index_dims,
                                            const std::vector<int64_t>& index_strides, int64_t slice_offset,
                                            Output& x_grad, Output& value_grad) {
  using Sum = Accumulator<T>;
  IndexPlan plan = index_plan<T>(index, input_dims, input_strides, index_dims, index_strides, slice_offset);
  const Shape strides = value_over_space(value.shape, plan.space);
  T *dx = nullptr, *dv = nullptr;
  if (value_grad) {
    ctx.resize(value_grad, value.shape);
    dv = host::out<T>(ctx, value_grad);
  }
  if (x_grad) {
    ctx.resize(x_grad, x.shape);
    dx = host::out<T>(ctx, x_grad);
  }
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=, n = x.numel(), count = value.numel(), plan = std::move(plan)] {
    if (dv) {
      const std::vector<int64_t> to = places_over_space(plan.space, strides);
      std::vector<Sum> sums(static_cast<size_t>(count));
      each_indexed(plan, [&](int64_t i, int64_t position) {
        sums[static_cast<size_t>(to[static_cast<size_t>(i)])] += static_cast<Sum>(static_cast<Compute<T>>(g[position]));
      });
      std::transform(sums.begin(), sums.end(), dv, [](Sum sum) { return static_cast<T>(sum); });
    }
    if (dx == nullptr) return;
    copy_all(dx, g, n);
    each_indexed(plan, [&](int64_t, int64_t position) { dx[position] = T(0); });
  });
}

template <typename T>
void index_elementwise_put_grad(Context& ctx, const Tensor& x, const TensorList& index, const Tensor& out_grad,
                                const std::vector<int64_t>& input_dims, const std::vector<int64_t>& input_strides,
                                const std::vector<int64_t>& index_dims, const std::vector<int64_t>& index_strides,
                                int64_t slice_offset, Output& x_grad) {
  IndexPlan plan = index_plan<T>(index, input_dims, input_strides, index_dims, index_strides, slice_offset);
  ctx.resize(x_grad, x.shape);
  T* dx = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=, n = x.numel(), plan = std::move(plan)] {
    copy_all(dx, g, n);
    each_indexed(plan, [&](int64_t, int64_t position) { dx[position] = T(0); });
  });
}

ADAPTER_KERNEL("index_elementwise_put", index_elementwise_put, none, float, double, float16, bfloat16, int32_t, int64_t,
               bool, int8_t, uint8_t)
ADAPTER_KERNEL("index_elementwise_put_grad", index_elementwise_put_grad, none, float, double, float16, bfloat16,
               int32_t, int64_t)
ADAPTER_KERNEL("index_elementwise_put_with_tensor", index_elementwise_put_with_tensor, none, float, double, float16,
               bfloat16, int32_t, int64_t, bool, int8_t, uint8_t)
ADAPTER_KERNEL("index_elementwise_put_with_tensor_grad", index_elementwise_put_with_tensor_grad, wide, float, double,
               float16, bfloat16, int32_t, int64_t)
// Paddle 3.1.0 has one operator for both, with a tensor as its value.
ADAPTER_KERNEL("index_elementwise_put", index_elementwise_put_with_tensor, none, float, double, float16, bfloat16,
               int32_t, int64_t, bool, int8_t, uint8_t)
ADAPTER_KERNEL("index_elementwise_put_grad", index_elementwise_put_with_tensor_grad, wide, float, double, float16,
               bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
