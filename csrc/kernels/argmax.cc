#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/fold.h"
#include "adapter_sdk/kernel.h"
#include "axis_slices.h"
#include "dispatch.h"

namespace adapter::kernels {

// The better of two, and what every number is better than.
template <typename C>
struct Largest {
  using State = C;
  State start() const {
    return std::numeric_limits<C>::has_infinity ? -std::numeric_limits<C>::infinity()
                                                : std::numeric_limits<C>::lowest();
  }
  State step(State best, C value) const { return value > best ? value : best; }
  State merge(State a, State b) const { return step(a, b); }
};

template <typename C>
struct Smallest {
  using State = C;
  State start() const {
    return std::numeric_limits<C>::has_infinity ? std::numeric_limits<C>::infinity() : std::numeric_limits<C>::max();
  }
  State step(State best, C value) const { return value < best ? value : best; }
  State merge(State a, State b) const { return step(a, b); }
};

// Position of the first best element. NaN is passed over, as in Paddle; where all are NaN the answer is 0.
template <typename Best, typename T>
int64_t best_position(const T* x, int64_t length, int64_t step) {
  using C = Compute<T>;
  host::Lanes<Best> lanes{Best{}};
  if (step == 1)
    lanes.add(length, [=](int64_t j) { return static_cast<C>(x[j]); });
  else
    lanes.add(length, [=](int64_t j) { return static_cast<C>(x[j * step]); });
  const C best = lanes.result();
  int64_t j = 0;
  constexpr int64_t kBlock = 64;
  if (step == 1)  // whole blocks without it are passed over together
    for (; j + kBlock <= length; j += kBlock) {
      int found = 0;
      for (int64_t i = j; i < j + kBlock; ++i) found |= static_cast<C>(x[i]) == best;
      if (found) break;
    }
  for (; j < length; ++j)
    if (static_cast<C>(x[j * step]) == best) return j;
  return 0;
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

template <typename Best, typename T>
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
        r[slice] = static_cast<Position>(best_position<Best>(a + offset, slices.length, slices.inner));
      });
    });
  });
}

template <typename T>
void argmax(Context& ctx, const Tensor& x, const Scalar& axis, bool keep_dim, bool flatten, DType dtype, Output& out) {
  find_best<Largest<Compute<T>>, T>(ctx, x, axis, keep_dim, flatten, dtype, out);
}

template <typename T>
void argmin(Context& ctx, const Tensor& x, const Scalar& axis, bool keep_dim, bool flatten, DType dtype, Output& out) {
  find_best<Smallest<Compute<T>>, T>(ctx, x, axis, keep_dim, flatten, dtype, out);
}

ADAPTER_KERNEL("argmax", argmax, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, uint8_t)
ADAPTER_KERNEL("argmin", argmin, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, uint8_t)

}  // namespace adapter::kernels
