// Outputs whose size depends on the data: the input is read on the host first.
#include <algorithm>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/strided.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

template <typename T>
std::vector<T> read_all(Context& ctx, const Tensor& x) {
  std::vector<T> values(static_cast<size_t>(x.numel()));
  ctx.read(values.data(), x);
  return values;
}

// Coordinates of the elements that are not zero: [count, rank].
template <typename T>
void nonzero(Context& ctx, const Tensor& x, Output& out) {
  // uint8_t: std::vector<bool> has no contiguous elements
  using Read = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;
  const std::vector<Read> values = read_all<Read>(ctx, x);
  std::vector<int64_t> rows;
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] != Read(0)) rows.push_back(static_cast<int64_t>(i));
  ctx.resize(out, {static_cast<int64_t>(rows.size()), x.shape.rank});
  int64_t* r = host::out<int64_t>(ctx, out);
  const Shape shape = x.shape;
  host::launch(ctx, [=] {
    const Shape strides = host::contiguous_strides(shape);
    for (size_t i = 0; i < rows.size(); ++i)
      for (int axis = 0; axis < shape.rank; ++axis)
        r[i * static_cast<size_t>(shape.rank) + static_cast<size_t>(axis)] = rows[i] / strides[axis] % shape[axis];
  });
}

// Offsets in x of the elements under a true mask; the two are broadcast to each other.
inline std::vector<int64_t> selected_offsets(const Shape& x, const Shape& mask, const uint8_t* selected) {
  const Shape space = host::broadcast_shape(x, mask);
  std::vector<int64_t> offsets;
  const host::Walk<2> walk(space, {host::broadcast_strides(x, space), host::broadcast_strides(mask, space)});
  walk.rows([&](const std::array<int64_t, 2>& o, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
      if (selected[o[1] + i * walk.inner_stride(1)]) offsets.push_back(o[0] + i * walk.inner_stride(0));
  });
  return offsets;
}

template <typename T>
void masked_select(Context& ctx, const Tensor& x, const Tensor& mask, Output& out) {
  const std::vector<uint8_t> selected = read_all<uint8_t>(ctx, mask);
  std::vector<int64_t> offsets = selected_offsets(x.shape, mask.shape, selected.data());
  ctx.resize(out, {static_cast<int64_t>(offsets.size())});
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, offsets = std::move(offsets)] {
    for (size_t i = 0; i < offsets.size(); ++i) r[i] = a[offsets[i]];
  });
}

// An element that was broadcast is selected several times: its gradients add up.
template <typename T>
void masked_select_grad(Context& ctx, const Tensor& x, const Tensor& mask, const Tensor& out_grad, Output& x_grad) {
  using Sum = Accumulator<T>;
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  const auto* selected = static_cast<const uint8_t*>(host::alias(mask.data));
  const Shape x_shape = x.shape, mask_shape = mask.shape;
  host::launch(ctx, [=] {
    const std::vector<int64_t> offsets = selected_offsets(x_shape, mask_shape, selected);
    std::vector<Sum> sums(static_cast<size_t>(x_shape.numel()));
    for (size_t i = 0; i < offsets.size(); ++i)
      sums[static_cast<size_t>(offsets[i])] += static_cast<Sum>(static_cast<Compute<T>>(g[i]));
    std::transform(sums.begin(), sums.end(), r, [](Sum sum) { return static_cast<T>(sum); });
  });
}

ADAPTER_KERNEL("nonzero", nonzero, none, float, double, float16, bfloat16, int32_t, int64_t, bool)
ADAPTER_KERNEL("masked_select", masked_select, none, float, double, float16, bfloat16, int32_t, int64_t, bool, int8_t,
               uint8_t)
ADAPTER_KERNEL("masked_select_grad", masked_select_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
