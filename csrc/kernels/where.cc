#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/loops.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// r[i] = c[i] ? a[i] : b[i]. Both are read whatever is chosen, and truth is a byte: so the loop becomes vector
// instructions.
template <typename Bits>
ADAPTER_WIDE_VECTORS void choose(const uint8_t* c, const Bits* a, const Bits* b, Bits* r, int64_t n) {
  ADAPTER_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const Bits first = a[i], second = b[i];
    r[i] = c[i] != 0 ? first : second;
  }
}

// The same with zeros in the place of one of them.
template <typename Bits>
ADAPTER_WIDE_VECTORS void keep(const uint8_t* c, bool chosen, const Bits* a, Bits* r, int64_t n) {
  const uint8_t wanted = chosen ? 1 : 0;
  ADAPTER_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const Bits value = a[i];
    r[i] = (c[i] != 0) == wanted ? value : Bits(0);
  }
}

// Whole numbers as wide as T: choosing only moves bits.
template <typename T>
using BitsOf = std::conditional_t<
    sizeof(T) == 8, uint64_t,
    std::conditional_t<sizeof(T) == 4, uint32_t, std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>>;

template <typename T>
const BitsOf<T>* bits(const T* values) {
  return reinterpret_cast<const BitsOf<T>*>(values);
}
template <typename T>
BitsOf<T>* bits(T* values) {
  return reinterpret_cast<BitsOf<T>*>(values);
}

// Paddle broadcasts before it calls: the three shapes are equal.
template <typename T>
void where(Context& ctx, const Tensor& condition, const Tensor& x, const Tensor& y, Output& out) {
  if (condition.shape != x.shape || x.shape != y.shape)
    throw InvalidArgument("the shapes of condition, x and y differ: " + to_string(condition.shape) + ", " +
                          to_string(x.shape) + ", " + to_string(y.shape));
  ctx.resize(out, x.shape);
  const auto* c = bits(host::in<bool>(condition));
  const auto *a = bits(host::in<T>(x)), *b = bits(host::in<T>(y));
  auto* r = bits(host::out<T>(ctx, out));
  const int64_t n = out.numel();
  host::launch(ctx, [=] {
    host::parallel_for(n, host::kElementGrain, [=](int64_t begin, int64_t end) {
      choose(c + begin, a + begin, b + begin, r + begin, end - begin);
    });
  });
}

// grad = out_grad where the condition is `chosen`, 0 elsewhere.
template <typename T>
void keep_where(Context& ctx, const Tensor& condition, bool chosen, const Tensor& out_grad, Output& grad) {
  if (!grad) return;
  ctx.resize(grad, out_grad.shape);
  const auto* c = bits(host::in<bool>(condition));
  const auto* g = bits(host::in<T>(out_grad));
  auto* r = bits(host::out<T>(ctx, grad));
  const int64_t n = grad.numel();
  host::launch(ctx, [=] {
    host::parallel_for(n, host::kElementGrain,
                       [=](int64_t begin, int64_t end) { keep(c + begin, chosen, g + begin, r + begin, end - begin); });
  });
}

template <typename T>
void where_grad(Context& ctx, const Tensor& condition, const Tensor& /*x*/, const Tensor& /*y*/, const Tensor& out_grad,
                Output& x_grad, Output& y_grad) {
  keep_where<T>(ctx, condition, false, out_grad, y_grad);
  keep_where<T>(ctx, condition, true, out_grad, x_grad);
}

ADAPTER_KERNEL("where", where, none, float, double, float16, bfloat16, int32_t, int64_t, bool)
ADAPTER_KERNEL("where_grad", where_grad, none, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
