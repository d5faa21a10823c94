// x[index...]: what Paddle calls for indexing with integer tensors (since 3.1.1).
#include <algorithm>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/kernel.h"
#include "index_plan.h"

namespace adapter::kernels {

template <typename T>
void index_elementwise_get(Context& ctx, const Tensor& x, const TensorList& index,
                           const std::vector<int64_t>& input_dims, const std::vector<int64_t>& input_strides,
                           const std::vector<int64_t>& index_dims, const std::vector<int64_t>& index_stride,
                           int64_t slice_offset, bool /*accumulate*/, bool /*is_combined*/, Output& out) {
  IndexPlan plan = index_plan<T>(index, input_dims, input_strides, index_dims, index_stride, slice_offset);
  ctx.resize(out, plan.space);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, plan = std::move(plan)] {
    each_indexed(plan, [&](int64_t i, int64_t position) { r[i] = a[position]; });
  });
}

template <typename T>
void index_elementwise_get_grad(Context& ctx, const Tensor& x, const TensorList& index, const Tensor& out_grad,
                                const std::vector<int64_t>& input_dims, const std::vector<int64_t>& input_strides,
                                const std::vector<int64_t>& index_dims, const std::vector<int64_t>& index_strides,
                                int64_t slice_offset, bool /*accumulate*/, bool /*is_combined*/, Output& x_grad) {
  IndexPlan plan = index_plan<T>(index, input_dims, input_strides, index_dims, index_strides, slice_offset);
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  const int64_t n = x.numel();
  // An element may be picked several times: its gradients add up, in the accumulator's type.
  host::launch(ctx, [=, plan = std::move(plan)] {
    std::vector<Accumulator<T>> sums(static_cast<size_t>(n));
    each_indexed(plan, [&](int64_t i, int64_t position) { sums[static_cast<size_t>(position)] += g[i]; });
    std::transform(sums.begin(), sums.end(), r, [](Accumulator<T> sum) { return static_cast<T>(sum); });
  });
}

// Paddle 3.1.1 has no is_combined.
template <typename T>
void index_elementwise_get_3_1_1(Context& ctx, const Tensor& x, const TensorList& index,
                                 const std::vector<int64_t>& input_dims, const std::vector<int64_t>& input_strides,
                                 const std::vector<int64_t>& index_dims, const std::vector<int64_t>& index_strides,
                                 int64_t slice_offset, bool accumulate, Output& out) {
  index_elementwise_get<T>(ctx, x, index, input_dims, input_strides, index_dims, index_strides, slice_offset,
                           accumulate, false, out);
}

template <typename T>
void index_elementwise_get_grad_3_1_1(Context& ctx, const Tensor& x, const TensorList& index, const Tensor& out_grad,
                                      const std::vector<int64_t>& input_dims, const std::vector<int64_t>& input_strides,
                                      const std::vector<int64_t>& index_dims, const std::vector<int64_t>& index_strides,
                                      int64_t slice_offset, bool accumulate, Output& x_grad) {
  index_elementwise_get_grad<T>(ctx, x, index, out_grad, input_dims, input_strides, index_dims, index_strides,
                                slice_offset, accumulate, false, x_grad);
}

ADAPTER_KERNEL("index_elementwise_get", index_elementwise_get, none, float, double, float16, bfloat16, int32_t, int64_t,
               bool, int8_t, uint8_t)
ADAPTER_KERNEL("index_elementwise_get_grad", index_elementwise_get_grad, wide, float, double, float16, bfloat16,
               int32_t, int64_t)
ADAPTER_KERNEL("index_elementwise_get", index_elementwise_get_3_1_1, none, float, double, float16, bfloat16, int32_t,
               int64_t, bool, int8_t, uint8_t)
ADAPTER_KERNEL("index_elementwise_get_grad", index_elementwise_get_grad_3_1_1, wide, float, double, float16, bfloat16,
               int32_t, int64_t)

}  // namespace adapter::kernels
