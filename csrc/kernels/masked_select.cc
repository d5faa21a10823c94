// Outputs whose size depends on the data: the input is read on the host first.
#include <memory>
#include <vector>

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

template <typename T>
void masked_select(Context& ctx, const Tensor& x, const Tensor& mask, Output& out) {
  if (x.shape != mask.shape) throw Unimplemented("masked_select of a mask that has to be broadcast");
  const std::vector<uint8_t> selected = read_all<uint8_t>(ctx, mask);
  std::vector<int64_t> positions;
  for (size_t i = 0; i < selected.size(); ++i)
    if (selected[i]) positions.push_back(static_cast<int64_t>(i));
  ctx.resize(out, {static_cast<int64_t>(positions.size())});
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=] {
    for (size_t i = 0; i < positions.size(); ++i) r[i] = a[positions[i]];
  });
}

ADAPTER_KERNEL("nonzero", nonzero, none, float, double, float16, bfloat16, int32_t, int64_t, bool)
ADAPTER_KERNEL("masked_select", masked_select, none, float, double, float16, bfloat16, int32_t, int64_t, bool)

}  // namespace adapter::kernels
