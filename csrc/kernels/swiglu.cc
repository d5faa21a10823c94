// silu(x) * y. Without y, x holds both halves side by side along its last axis.
#include <algorithm>

#include "adapter_sdk/host/elementwise.h"
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

// Calls piece(offset in the operands, offset in the result, n) for runs that lie side by side in both, on several
// cores.
template <typename T, typename Piece>
void for_each_piece(const Halves<T>& h, Piece&& piece) {
  host::parallel_for(h.rows * h.width, host::kElementGrain, [&](int64_t begin, int64_t end) {
    for (int64_t packed = begin; packed < end;) {
      const int64_t row = packed / h.width, column = packed % h.width, n = std::min(end - packed, h.width - column);
      piece(row * h.stride + column, packed, n);
      packed += n;
    }
  });
}

template <typename T>
void swiglu(Context& ctx, const Tensor& x, const OptionalTensor& y, Output& out) {
  const Halves<T> h = halves<T>(x, y);
  Shape shape = x.shape;
  if (!y) shape[shape.rank - 1] = h.width;
  ctx.resize(out, shape);
  T* r = host::out<T>(ctx, out);
  host::launch(ctx, [=] {
    for_each_piece(h, [&](int64_t at, int64_t packed, int64_t n) {
      using C = Compute<T>;
      host::map(h.gate + at, h.linear + at, r + packed, n, [](C v, C w) { return v * logistic(v) * w; });
    });
  });
}

// n elements side by side; a gradient that is not wanted is null.
template <typename T>
ADAPTER_WIDE_VECTORS void swiglu_slopes(const T* gate, const T* linear, const T* g, T* gate_grad, T* linear_grad,
                                        int64_t n) {
  using C = Compute<T>;
  C v[host::kStage], w[host::kStage], d[host::kStage], own[host::kStage], other[host::kStage];
  for (int64_t i = 0; i < n; i += host::kStage) {
    const int64_t m = std::min(host::kStage, n - i);
    host::widen(gate + i, 1, v, m);
    host::widen(linear + i, 1, w, m);
    host::widen(g + i, 1, d, m);
    ADAPTER_INDEPENDENT
    for (int64_t j = 0; j < m; ++j) {
      own[j] = d[j] * w[j] * silu_slope(v[j]);
      other[j] = d[j] * v[j] * logistic(v[j]);
    }
    if (gate_grad != nullptr) host::narrow(own, gate_grad + i, 1, m);
    if (linear_grad != nullptr) host::narrow(other, linear_grad + i, 1, m);
  }
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
    for_each_piece(h, [&](int64_t at, int64_t packed, int64_t n) {
      swiglu_slopes(h.gate + at, h.linear + at, g + packed, gate_grad ? gate_grad + at : nullptr,
                    linear_grad ? linear_grad + at : nullptr, n);
    });
  });
}

ADAPTER_FUSED_KERNEL("swiglu", swiglu, none, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("swiglu_grad", swiglu_grad, none, float, double, float16, bfloat16)

}  // namespace adapter::kernels
