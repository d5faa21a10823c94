// silu(x) * y. Without y, x holds both halves side by side along its last axis.
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "logistic.h"

namespace adapter::kernels {

// Where gate and linear part lie: `rows` rows of `width` elements, each `stride` elements behind the last.
template <typename T>
struct Halves {
  const T *gate, *linear;
  int64_t rows, width, stride;
};

template <typename T>
Halves<T> halves(const Tensor& x, const OptionalTensor& y) {
  if (y) {
    if (x.shape != y.shape)
      throw InvalidArgument("the shapes of x and y differ: " + to_string(x.shape) + ", " + to_string(y.shape));
    return {host::in<T>(x), host::in<T>(y), 1, x.numel(), x.numel()};
  }
  const int64_t last = x.shape.rank > 0 ? x.shape[x.shape.rank - 1] : 1;
  if (last % 2 != 0) throw InvalidArgument("without y the last axis of x has to be even: " + to_string(x.shape));
  const T* data = host::in<T>(x);
  const int64_t rows = x.shape.product(0, x.shape.rank - 1);
  return {data, data == nullptr ? nullptr : data + last / 2, rows, last / 2, last};
}

template <typename T>
void swiglu(Context& ctx, const Tensor& x, const OptionalTensor& y, Output& out) {
  const Halves<T> h = halves<T>(x, y);
  Shape shape = x.shape;
  if (!y) shape[shape.rank - 1] = h.width;
  ctx.resize(out, shape);
  T* r = host::out<T>(ctx, out);
  host::launch(ctx, [=] {
    for (int64_t i = 0; i < h.rows; ++i)
      for (int64_t j = 0; j < h.width; ++j) {
        const T v = h.gate[i * h.stride + j];
        r[i * h.width + j] = v * logistic(v) * h.linear[i * h.stride + j];
      }
  });
}

// The gradients are laid out as the operands are and may share their storage: each element is read before it is
// written.
template <typename T>
void swiglu_grad(Context& ctx, const Tensor& x, const OptionalTensor& y, const Tensor& out_grad, Output& x_grad,
                 Output& y_grad) {
  const Halves<T> h = halves<T>(x, y);
  T *gate_grad = nullptr, *linear_grad = nullptr;
  if (x_grad) {
    ctx.resize(x_grad, x.shape);
    gate_grad = host::out<T>(ctx, x_grad);
  }
  if (y_grad) {
    ctx.resize(y_grad, y ? y.shape : Shape{0});  // without y there is nothing to write
    linear_grad = host::out<T>(ctx, y_grad);
  }
  if (!y && gate_grad != nullptr) linear_grad = gate_grad + h.width;
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=] {
    for (int64_t i = 0; i < h.rows; ++i)
      for (int64_t j = 0; j < h.width; ++j) {
        const int64_t at = i * h.stride + j;
        const T v = h.gate[at], w = h.linear[at], d = g[i * h.width + j];
        if (gate_grad != nullptr) gate_grad[at] = d * w * silu_slope(v);
        if (linear_grad != nullptr) linear_grad[at] = d * v * logistic(v);
      }
  });
}

ADAPTER_FUSED_KERNEL("swiglu", swiglu, none, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("swiglu_grad", swiglu_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
