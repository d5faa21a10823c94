#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "axis_slices.h"
#include "dispatch.h"

namespace adapter::kernels {

template <typename T>
bool is_larger(T a, T b) {
  return a > b;
}

template <typename T>
bool is_smaller(T a, T b) {
  return a < b;
}

// Position of the first best element. NaN is passed over, as in Paddle; where all are NaN the answer is 0.
template <auto Better, typename T>
int64_t best_position(const T* x, int64_t length, int64_t step) {
  int64_t best = -1;
  for (int64_t j = 0; j < length; ++j) {
    const T value = x[j * step];
    if (value == value && (best < 0 || Better(value, x[best * step]))) best = j;
  }
  return best < 0 ? 0 : best;
}

inline Shape position_shape(const Shape& shape, int64_t axis, bool keep_dim, bool flatten) {
  const int removed = flatten ? -1 : shape.axis(axis);
  Shape result;
  for (int i = 0; i < shape.rank; ++i) {
    const bool gone = flatten || i == removed;
    if (!gone)
      result.push_back(shape[i]);
    else if (keep_dim)
      result.push_back(1);
  }
  return result;
}

template <auto Better, typename T>
void find_best(Context& ctx, const Tensor& x, const Scalar& axis, bool keep_dim, bool flatten, DType dtype,
               Output& out) {
  const Shape searched = flatten ? Shape{x.numel()} : x.shape;
  const AxisSlices slices(searched, flatten ? 0 : axis.integer);
  if (slices.length == 0 && slices.count() > 0)
    throw InvalidArgument("a tensor of shape " + to_string(x.shape) + " has no largest or smallest element");
  ctx.resize(out, position_shape(x.shape, axis.integer, keep_dim, flatten));
  const T* a = host::in<T>(x);
  visit_dtype<int64_t, int32_t>(dtype == DType::undefined ? DType::int64 : dtype, "a position", [&](auto tag) {
    using Position = typename decltype(tag)::type;
    Position* r = host::out<Position>(ctx, out);
    host::launch(ctx, [=] {
      slices.each([&](int64_t slice, int64_t offset) {
        r[slice] = static_cast<Position>(best_position<Better>(a + offset, slices.length, slices.inner));
      });
    });
  });
}

template <typename T>
void argmax(Context& ctx, const Tensor& x, const Scalar& axis, bool keep_dim, bool flatten, DType dtype, Output& out) {
  find_best<is_larger<T>, T>(ctx, x, axis, keep_dim, flatten, dtype, out);
}

template <typename T>
void argmin(Context& ctx, const Tensor& x, const Scalar& axis, bool keep_dim, bool flatten, DType dtype, Output& out) {
  find_best<is_smaller<T>, T>(ctx, x, axis, keep_dim, flatten, dtype, out);
}

ADAPTER_KERNEL("argmax", argmax, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, uint8_t)
ADAPTER_KERNEL("argmin", argmin, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, uint8_t)

}  // namespace adapter::kernels
