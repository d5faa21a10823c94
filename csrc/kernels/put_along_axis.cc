#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/kernel.h"
#include "places.h"

namespace adapter::kernels {

enum class PutMode { assign, add, multiply, smallest, largest, mean };

inline PutMode put_mode(const std::string& name) {
  if (name == "assign") return PutMode::assign;
  if (name == "add") return PutMode::add;
  if (name == "mul" || name == "multiply") return PutMode::multiply;
  if (name == "amin") return PutMode::smallest;
  if (name == "amax") return PutMode::largest;
  if (name == "mean") return PutMode::mean;
  throw InvalidArgument("put_along_axis: unknown reduction '" + name + "'");
}

template <typename Sum>
Sum combined(PutMode mode, Sum held, Sum value) {
  switch (mode) {
    case PutMode::assign: return value;
    case PutMode::add:
    case PutMode::mean: return held + value;
    case PutMode::multiply: return held * value;
    case PutMode::smallest: return std::min(held, value);
    case PutMode::largest: return std::max(held, value);
  }
  return value;
}

// The mean of whole numbers rounds down, as floor_divide does.
template <typename Sum>
Sum average(Sum total, int64_t count) {
  if constexpr (std::is_integral_v<Sum>)
    return total / count - (total % count < 0 ? 1 : 0);
  else
    return total / static_cast<Sum>(count);
}

inline void check_value_shape(const Tensor& index, const Tensor& value) {
  if (index.shape != value.shape)
    throw InvalidArgument("put_along_axis: values of shape " + to_string(value.shape) + " for an index of shape " +
                          to_string(index.shape));
}

// x with the values put where the index says; several for one place are combined in their order. The element of x
// itself takes part only with `include_self`.
template <typename T>
void put_along_axis(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& value, int32_t axis,
                    const std::string& reduce, bool include_self, Output& out) {
  const int along = x.shape.axis(axis);
  const PutMode mode = put_mode(reduce);
  check_index_shape("put_along_axis", x.shape, index.shape, along);
  check_value_shape(index, value);
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T *a = host::in<T>(x), *v = host::in<T>(value);
  const int64_t size = x.numel();
  visit_index(index, [&](const auto* positions) {
    host::launch(ctx, [=, shape = x.shape, over = index.shape] {
      using Sum = Accumulator<T>;
      std::vector<Sum> held(a, a + size);
      std::vector<int64_t> terms(static_cast<size_t>(size), include_self ? 1 : 0);
      each_place("put_along_axis", shape, over, along, positions, [&](int64_t k, int64_t place) {
        const auto p = static_cast<size_t>(place);
        const Sum own = static_cast<Sum>(v[k]);
        held[p] = terms[p]++ == 0 ? own : combined(mode, held[p], own);
      });
      for (int64_t i = 0; i < size; ++i) {
        const auto p = static_cast<size_t>(i);
        r[i] = static_cast<T>(mode == PutMode::mean && terms[p] > 1 ? average(held[p], terms[p]) : held[p]);
      }
    });
  });
}

// x_grad is out_grad, cleared where x was replaced. values_grad is out_grad where the value went: for assign only the
// last value of a place, which is the one that stands there, for add all of them. The other reductions have no gradient
// here.
template <typename T>
void put_along_axis_grad(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& value, const Tensor& /*out*/,
                         const Tensor& out_grad, int32_t axis, const std::string& reduce, bool include_self,
                         Output& x_grad, Output& value_grad) {
  const int along = x.shape.axis(axis);
  const PutMode mode = put_mode(reduce);
  if (mode != PutMode::assign && mode != PutMode::add)
    throw Unimplemented("put_along_axis: this device has no gradient for the reduction '" + reduce +
                        "', only for assign and add");
  const bool replaced = mode == PutMode::assign || !include_self;
  const T* g = host::in<T>(out_grad);
  visit_index(index, [&](const auto* positions) {
    if (value_grad) {
      ctx.resize(value_grad, value.shape);
      T* dv = host::out<T>(ctx, value_grad);
      host::launch(ctx, [=, shape = x.shape, over = index.shape] {
        std::vector<int64_t> last(static_cast<size_t>(shape.numel()), -1);
        each_place("put_along_axis", shape, over, along, positions,
                   [&](int64_t k, int64_t place) { last[static_cast<size_t>(place)] = k; });
        each_place("put_along_axis", shape, over, along, positions, [&](int64_t k, int64_t place) {
          dv[k] = mode == PutMode::add || last[static_cast<size_t>(place)] == k ? g[place] : T(0);
        });
      });
    }
    if (!x_grad) return;
    ctx.resize(x_grad, x.shape);  // last: it may share the storage of out_grad
    T* dx = host::out<T>(ctx, x_grad);
    host::launch(ctx, [=, shape = x.shape, over = index.shape] {
      if (dx != g) std::copy(g, g + shape.numel(), dx);
      if (replaced)
        each_place("put_along_axis", shape, over, along, positions, [&](int64_t, int64_t place) { dx[place] = T(0); });
    });
  });
}

ADAPTER_KERNEL("put_along_axis", put_along_axis, wide, float, double, float16, bfloat16, int32_t, int64_t, uint8_t)
ADAPTER_KERNEL("put_along_axis_grad", put_along_axis_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
