// The "_raw" forms, which older programs name: the operator with an axis that aligns y, or with the dtype spelled out.
#include <algorithm>

#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "dispatch.h"

namespace adapter::kernels {

// y with unit axes behind it, so that its first axis stands at `axis` of x; -1 aligns the last axes, as NumPy does.
inline Tensor aligned(const Tensor& x, const Tensor& y, int32_t axis) {
  Tensor result = y;
  if (axis < 0) return result;
  if (axis + y.shape.rank > x.shape.rank)
    throw InvalidArgument("y of shape " + to_string(y.shape) + " at axis " + std::to_string(axis) +
                          " reaches beyond x of shape " + to_string(x.shape));
  while (axis + result.shape.rank < x.shape.rank) result.shape.push_back(1);
  return result;
}

template <typename T>
void add_raw(Context& ctx, const Tensor& x, const Tensor& y, int32_t axis, Output& out) {
  host::binary<T, T>(ctx, x, aligned(x, y, axis), out, [](Compute<T> a, Compute<T> b) { return a + b; });
}

template <typename T>
void equal_raw(Context& ctx, const Tensor& x, const Tensor& y, int32_t axis, Output& out) {
  host::binary<T, bool>(ctx, x, aligned(x, y, axis), out, [](Compute<T> a, Compute<T> b) { return a == b; });
}

template <typename T>
void less_than_raw(Context& ctx, const Tensor& x, const Tensor& y, int32_t axis, Output& out) {
  host::binary<T, bool>(ctx, x, aligned(x, y, axis), out, [](Compute<T> a, Compute<T> b) { return a < b; });
}

template <typename T>
void greater_equal_raw(Context& ctx, const Tensor& x, const Tensor& y, int32_t axis, Output& out) {
  host::binary<T, bool>(ctx, x, aligned(x, y, axis), out, [](Compute<T> a, Compute<T> b) { return a >= b; });
}

// One row per index. `allow_out_of_range` makes an index outside [0, classes) a row of zeros instead of an error.
template <typename T>
void one_hot_raw(Context& ctx, const Tensor& x, const Scalar& classes, DType dtype, bool allow_out_of_range,
                 Output& out) {
  const int64_t width = classes.integer, count = x.numel();
  if (width < 1) throw InvalidArgument("one_hot of " + std::to_string(width) + " classes");
  Shape shape = x.shape;
  shape.push_back(width);
  ctx.resize(out, shape);
  void* memory = host::out(ctx, out, dtype);
  const T* a = host::in<T>(x);
  visit_dtype<float, double, int32_t, int64_t>(dtype, "the result of one_hot", [&](auto tag) {
    using Result = typename decltype(tag)::type;
    auto* r = static_cast<Result*>(memory);
    host::launch(ctx, [=] {
      fill_all(r, count * width, Result(0));
      for (int64_t i = 0; i < count; ++i) {
        const auto index = static_cast<int64_t>(a[i]);
        if (index >= 0 && index < width)
          r[i * width + index] = Result(1);
        else if (!allow_out_of_range)
          throw DeviceError("one_hot: index " + std::to_string(index) + " at position " + std::to_string(i) +
                            " is outside " + std::to_string(width) + " classes");
      }
    });
  });
}

ADAPTER_KERNEL("add_raw", add_raw, none, float, double, float16, bfloat16, int32_t, int64_t, bool, int8_t, uint8_t)
ADAPTER_KERNEL("equal_raw", equal_raw, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t, bool)
ADAPTER_KERNEL("less_than_raw", less_than_raw, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t,
               int8_t, uint8_t, bool)
ADAPTER_KERNEL("greater_equal_raw", greater_equal_raw, none, float, double, float16, bfloat16, int32_t, int64_t,
               int16_t, int8_t, uint8_t, bool)
ADAPTER_KERNEL("one_hot_raw", one_hot_raw, none, int32_t, int64_t)

}  // namespace adapter::kernels
