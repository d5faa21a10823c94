// activation(x y + bias) in one pass: bias and activation are applied to the sums before they are stored.
//
// gelu is the tanh approximation here, as in the library that Paddle's GPU kernel calls (cuBLASLt's epilogue).
#include <cmath>
#include <string>
#include <vector>

#include "adapter_sdk/kernel.h"
#include "broadcast_grad.h"
#include "gemm_tiles.h"
#include "logistic.h"
#include "matrices.h"

namespace adapter::kernels {

enum class Epilogue { none, relu, gelu };

inline Epilogue epilogue_named(const std::string& activation) {
  if (activation == "none") return Epilogue::none;
  if (activation == "relu") return Epilogue::relu;
  if (activation == "gelu") return Epilogue::gelu;
  throw InvalidArgument("fused_gemm_epilogue has the activations 'none', 'relu' and 'gelu', not '" + activation + "'");
}

// 2 sqrt(2 / pi) (x + 0.044715 x^3): (1 + tanh(u)) / 2 is the logistic function of 2u, which does not cancel.
template <typename C>
C epilogue_gelu_argument(C x) {
  return C(1.59576912160573071176) * x * (1 + C(0.044715) * x * x);
}

template <typename C>
C epilogue_gelu_slope(C x) {
  const C u = epilogue_gelu_argument(x);
  return logistic(u) * (1 + x * logistic(-u) * C(1.59576912160573071176) * (1 + C(3 * 0.044715) * x * x));
}

// x as a matrix: all but its last axis are rows. Transposed, x has to be a matrix already.
inline MatrixProduct epilogue_product(const Shape& x, const Shape& y, bool trans_x, bool trans_y) {
  if (y.rank != 2 || x.rank < 2 || (trans_x && x.rank != 2))
    throw InvalidArgument(
        "fused_gemm_epilogue multiplies x of two axes or more (transposed: two) and a matrix y, got " + to_string(x) +
        " and " + to_string(y));
  const int64_t last = x[x.rank - 1];
  return {trans_x ? x : Shape{x.product(0, x.rank - 1), last}, y, trans_x, trans_y};
}

// Sums of one tile of op(x) op(y), [tile.rows, tile.columns].
template <typename T>
std::vector<Compute<T>> product_tile(const MatrixProduct& p, const T* x, const T* y, const Tile& tile) {
  std::vector<Compute<T>> sum(static_cast<size_t>(tile.rows * tile.columns));
  const int64_t lda = p.transpose_x ? p.m : p.k, ldb = p.transpose_y ? p.k : p.n;
  if (p.k > 0)
    gemm_tile<T>(p.transpose_x, p.transpose_y, tile.rows, tile.columns, p.k, x + tile.row * (p.transpose_x ? 1 : lda),
                 lda, y + tile.column * (p.transpose_y ? ldb : 1), ldb, Compute<T>(0), sum.data(), tile.columns);
  return sum;
}

// Calls finish(sums of a part of a row, its first element's place in the result, its first column, n).
template <typename T, typename Finish>
void each_product_row(const MatrixProduct& p, const T* x, const T* y, Finish&& finish) {
  const TileSides sides(p.m, p.n, p.k);
  each_tile(p.m, p.n, sides.rows, sides.columns, [&](const Tile& tile) {
    std::vector<Compute<T>> sum = product_tile(p, x, y, tile);
    for (int64_t i = 0; i < tile.rows; ++i)
      finish(sum.data() + i * tile.columns, (tile.row + i) * p.n + tile.column, tile.column, tile.columns);
  });
}

template <typename C>
void apply_epilogue(Epilogue epilogue, C* row, int64_t n) {
  if (epilogue == Epilogue::relu)
    for (int64_t j = 0; j < n; ++j) row[j] = row[j] > 0 || row[j] != row[j] ? row[j] : C(0);
  if (epilogue == Epilogue::gelu)
    for (int64_t j = 0; j < n; ++j) row[j] *= logistic(epilogue_gelu_argument(row[j]));
}

// What the gradient of the activation needs, for the kernels of this file alone: relu keeps where it let through, gelu
// its argument. Returns NULL where nothing is kept.
template <typename T>
void* reserve(Context& ctx, Epilogue epilogue, const Shape& shape, Output& reserve_space) {
  if (!reserve_space) return nullptr;
  ctx.resize(reserve_space, epilogue == Epilogue::none ? Shape{0} : shape);
  return host::out(ctx, reserve_space, epilogue == Epilogue::relu ? DType::boolean : dtype_of<T>);
}

template <typename T>
void keep_for_gradient(Epilogue epilogue, const Compute<T>* row, int64_t n, void* kept, int64_t at) {
  if (kept == nullptr || epilogue == Epilogue::none) return;
  if (epilogue == Epilogue::gelu) return host::narrow(row, static_cast<T*>(kept) + at, 1, n);
  bool* through = static_cast<bool*>(kept) + at;
  for (int64_t j = 0; j < n; ++j) through[j] = row[j] > 0;
}

template <typename T>
void fused_gemm_epilogue(Context& ctx, const Tensor& x, const Tensor& y, const Tensor& bias, bool trans_x, bool trans_y,
                         const std::string& activation, Output& out, Output& reserve_space) {
  const MatrixProduct p = epilogue_product(x.shape, y.shape, trans_x, trans_y);
  const Epilogue epilogue = epilogue_named(activation);
  if (bias.numel() != p.n)
    throw InvalidArgument("the bias of " + std::to_string(p.n) + " columns is " + to_string(bias.shape));
  Shape shape = trans_x ? p.result : x.shape;
  shape[shape.rank - 1] = p.n;
  ctx.resize(out, shape);
  T* r = host::out<T>(ctx, out);
  void* kept = reserve<T>(ctx, epilogue, shape, reserve_space);
  const T* a = host::in<T>(x);
  const T* b = host::in<T>(y);
  const T* c = host::in<T>(bias);
  host::launch(ctx, [=] {
    each_product_row(p, a, b, [=](Compute<T>* row, int64_t at, int64_t column, int64_t n) {
      for (int64_t j = 0; j < n; ++j) row[j] += static_cast<Compute<T>>(c[column + j]);
      keep_for_gradient<T>(epilogue, row, n, kept, at);
      apply_epilogue(epilogue, row, n);
      host::narrow(row, r + at, 1, n);
    });
  });
}

// x_grad = (out_grad y^T) * slope, where the activation made x: `reserve_space` was kept when it did, and has the shape
// of x. That is how Paddle's kernel reads activation_grad: the activation is that of the layer before.
template <typename T>
void launch_sloped_x_grad(Context& ctx, const MatrixProduct& p, Epilogue epilogue, const Tensor& y,
                          const Tensor& out_grad, const Tensor& reserve_space, Output& x_grad) {
  const MatrixProduct back(p.transpose_x ? (p.transpose_y ? Shape{p.n, p.k} : Shape{p.k, p.n}) : Shape{p.m, p.n},
                           p.transpose_x ? Shape{p.m, p.n} : (p.transpose_y ? Shape{p.n, p.k} : Shape{p.k, p.n}),
                           p.transpose_x && p.transpose_y, p.transpose_x || !p.transpose_y);
  if (reserve_space.numel() != p.m * p.k)
    throw InvalidArgument("reserve_space " + to_string(reserve_space.shape) + " was not kept for an x of " +
                          std::to_string(p.m * p.k) + " elements");
  T* dx = host::out<T>(ctx, x_grad);
  const T* weight = host::in<T>(y);
  const T* flow = host::in<T>(out_grad);
  const T* a = p.transpose_x ? weight : flow;
  const T* b = p.transpose_x ? flow : weight;
  const void* kept = host::alias(reserve_space.data);
  host::launch(ctx, [=] {
    using C = Compute<T>;
    each_product_row(back, a, b, [=](C* row, int64_t at, int64_t, int64_t n) {
      const bool* through = static_cast<const bool*>(kept) + at;
      const T* argument = static_cast<const T*>(kept) + at;
      for (int64_t j = 0; j < n; ++j)
        row[j] = epilogue == Epilogue::relu ? (through[j] ? row[j] : C(0))
                                            : row[j] * epilogue_gelu_slope(static_cast<C>(argument[j]));
      host::narrow(row, dx + at, 1, n);
    });
  });
}

template <typename T>
void fused_gemm_epilogue_grad(Context& ctx, const Tensor& x, const Tensor& y, const OptionalTensor& reserve_space,
                              const Tensor& out_grad, bool trans_x, bool trans_y, const std::string& activation_grad,
                              Output& x_grad, Output& y_grad, Output& bias_grad) {
  const MatrixProduct p = epilogue_product(x.shape, y.shape, trans_x, trans_y);
  const Epilogue epilogue = epilogue_named(activation_grad);
  Tensor flow = out_grad;
  flow.shape = {p.m, p.n};
  sum_to_shape<T>(ctx, flow, Shape{p.n}, bias_grad);
  const T* a = host::in<T>(x);
  const T* b = host::in<T>(y);
  const T* g = host::in<T>(out_grad);
  if (y_grad) {
    ctx.resize(y_grad, y.shape);
    T* dy = host::out<T>(ctx, y_grad);
    host::launch(ctx, [=] { multiply_grad_y(p, a, g, Compute<T>(1), dy); });
  }
  if (!x_grad) return;
  ctx.resize(x_grad, x.shape);
  if (epilogue != Epilogue::none) {
    if (!reserve_space) throw InvalidArgument("fused_gemm_epilogue_grad of an activation needs reserve_space");
    return launch_sloped_x_grad<T>(ctx, p, epilogue, y, flow, reserve_space, x_grad);
  }
  T* dx = host::out<T>(ctx, x_grad);
  host::launch(ctx, [=] { multiply_grad_x(p, b, g, Compute<T>(1), dx); });
}

ADAPTER_FUSED_KERNEL("fused_gemm_epilogue", fused_gemm_epilogue, same, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("fused_gemm_epilogue_grad", fused_gemm_epilogue_grad, same, float, double, float16, bfloat16)

}  // namespace adapter::kernels
