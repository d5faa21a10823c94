// One element of x per index, its position along an axis: take_along_axis, and index_sample, which is the same along
// axis 1 of a matrix.
#include "adapter_sdk/kernel.h"
#include "places.h"

namespace adapter::kernels {

template <typename T>
void take_places(Context& ctx, const char* kernel, const Tensor& x, const Tensor& index, int axis, Output& out) {
  check_index_shape(kernel, x.shape, index.shape, axis);
  ctx.resize(out, index.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  visit_index(index, [&](const auto* positions) {
    host::launch(ctx, [=, from = x.shape, over = index.shape] {
      each_place(kernel, from, over, axis, positions, [&](int64_t k, int64_t place) { r[k] = a[place]; });
    });
  });
}

template <typename T>
void sum_places(Context& ctx, const char* kernel, const Shape& shape, const Tensor& index, const Tensor& out_grad,
                int axis, Output& x_grad) {
  check_index_shape(kernel, shape, index.shape, axis);
  ctx.resize(x_grad, shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  visit_index(index, [&](const auto* positions) {
    host::launch(ctx, [=, over = index.shape] {
      std::vector<Accumulator<T>> sum(static_cast<size_t>(shape.numel()));
      each_place(kernel, shape, over, axis, positions, [&](int64_t k, int64_t place) {
        sum[static_cast<size_t>(place)] += static_cast<Accumulator<T>>(static_cast<Compute<T>>(g[k]));
      });
      std::transform(sum.begin(), sum.end(), r, [](Accumulator<T> value) { return static_cast<T>(value); });
    });
  });
}

template <typename T>
void take_along_axis(Context& ctx, const Tensor& x, const Tensor& index, int32_t axis, Output& out) {
  take_places<T>(ctx, "take_along_axis", x, index, x.shape.axis(axis), out);
}

template <typename T>
void take_along_axis_grad(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& out_grad, int32_t axis,
                          Output& x_grad) {
  sum_places<T>(ctx, "take_along_axis", x.shape, index, out_grad, x.shape.axis(axis), x_grad);
}

template <typename T>
void index_sample(Context& ctx, const Tensor& x, const Tensor& index, Output& out) {
  take_places<T>(ctx, "index_sample", x, index, x.shape.axis(1), out);
}

template <typename T>
void index_sample_grad(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& out_grad, Output& x_grad) {
  sum_places<T>(ctx, "index_sample", x.shape, index, out_grad, x.shape.axis(1), x_grad);
}

ADAPTER_KERNEL("take_along_axis", take_along_axis, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t)
ADAPTER_KERNEL("take_along_axis_grad", take_along_axis_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("index_sample", index_sample, none, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("index_sample_grad", index_sample_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
