// Batches of matrix products, with broadcast batch axes, and their gradients.
#pragma once

#include <algorithm>
#include <utility>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/strided.h"
#include "gemm.h"

namespace adapter::kernels {

// Z[m, n] = op(X)[m, k] * op(Y)[k, n] for every element of a batch; op transposes where asked. The batch axes of X and
// Y broadcast. A vector on the left is one row, on the right one column; neither is ever transposed.
struct MatrixProduct {
  bool transpose_x, transpose_y;
  int64_t m = 1, n = 1, k = 1;
  Shape x_batch, y_batch, batch;
  Shape result;

  MatrixProduct(const Shape& x, const Shape& y, bool tx, bool ty)
      : transpose_x(tx && x.rank > 1), transpose_y(ty && y.rank > 1) {
    if (x.rank == 0 || y.rank == 0) throw InvalidArgument("matmul needs operands of at least one axis");
    const auto [xm, xk] = matrix(x, transpose_x, true);
    const auto [yk, yn] = matrix(y, transpose_y, false);
    if (xk != yk)
      throw InvalidArgument("matmul of " + to_string(x) + (tx ? " transposed" : "") + " and " + to_string(y) +
                            (ty ? " transposed" : "") + ": " + std::to_string(xk) + " columns meet " +
                            std::to_string(yk) + " rows");
    m = xm, k = xk, n = yn;
    x_batch = batch_of(x), y_batch = batch_of(y);
    batch = host::broadcast_shape(x_batch, y_batch);
    result = batch;
    if (x.rank > 1) result.push_back(m);
    if (y.rank > 1) result.push_back(n);
    join_rows();
  }

  // Calls step(x, y, z) with the number of the matrix in each operand, in order of z.
  template <typename Step>
  void each(Step&& step) const {
    const host::Walk<3> walk(batch, {host::broadcast_strides(x_batch, batch), host::broadcast_strides(y_batch, batch),
                                     host::contiguous_strides(batch)});
    walk.rows([&](const std::array<int64_t, 3>& o, int64_t count) {
      for (int64_t i = 0; i < count; ++i)
        step(o[0] + i * walk.inner_stride(0), o[1] + i * walk.inner_stride(1), o[2] + i * walk.inner_stride(2));
    });
  }

 private:
  // Rows and columns after transposition.
  static std::pair<int64_t, int64_t> matrix(const Shape& shape, bool transposed, bool left) {
    const int64_t last = shape[shape.rank - 1];
    if (shape.rank == 1) return left ? std::pair<int64_t, int64_t>{1, last} : std::pair<int64_t, int64_t>{last, 1};
    const int64_t rows = shape[shape.rank - 2];
    return transposed ? std::pair<int64_t, int64_t>{last, rows} : std::pair<int64_t, int64_t>{rows, last};
  }
  static Shape batch_of(const Shape& shape) {
    return Shape(shape.begin(), shape.begin() + std::max(shape.rank - 2, 0));
  }

  // A batch of X against one Y is one tall product: a Linear layer's case.
  void join_rows() {
    if (transpose_x || y_batch.numel() != 1) return;
    m *= batch.numel();
    x_batch = y_batch = batch = Shape();
  }
};

template <typename T>
void multiply(const MatrixProduct& p, const T* x, const T* y, T* z) {
  p.each([&](int64_t i, int64_t j, int64_t l) {
    gemm<T>(p.transpose_x, p.transpose_y, p.m, p.n, p.k, x + i * p.m * p.k, y + j * p.k * p.n, T(0), z + l * p.m * p.n);
  });
}

// dX = dZ * op(Y)^T, stored as X is; summed over the batch elements that one X served.
template <typename T>
void multiply_grad_x(const MatrixProduct& p, const T* y, const T* dz, T* dx) {
  std::fill(dx, dx + p.x_batch.numel() * p.m * p.k, T(0));
  p.each([&](int64_t i, int64_t j, int64_t l) {
    T* target = dx + i * p.m * p.k;
    const T* matrix = y + j * p.k * p.n;
    const T* g = dz + l * p.m * p.n;
    if (p.transpose_x)
      gemm<T>(p.transpose_y, true, p.k, p.m, p.n, matrix, g, T(1), target);
    else
      gemm<T>(false, !p.transpose_y, p.m, p.k, p.n, g, matrix, T(1), target);
  });
}

// dY = op(X)^T * dZ, stored as Y is; summed over the batch elements that one Y served.
template <typename T>
void multiply_grad_y(const MatrixProduct& p, const T* x, const T* dz, T* dy) {
  std::fill(dy, dy + p.y_batch.numel() * p.k * p.n, T(0));
  p.each([&](int64_t i, int64_t j, int64_t l) {
    T* target = dy + j * p.k * p.n;
    const T* matrix = x + i * p.m * p.k;
    const T* g = dz + l * p.m * p.n;
    if (p.transpose_y)
      gemm<T>(true, p.transpose_x, p.n, p.k, p.m, g, matrix, T(1), target);
    else
      gemm<T>(!p.transpose_x, false, p.k, p.n, p.m, matrix, g, T(1), target);
  });
}

template <typename T>
void launch_multiply(Context& ctx, const MatrixProduct& product, const Tensor& x, const Tensor& y, Output& out) {
  ctx.resize(out, product.result);
  T* z = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const T* b = host::in<T>(y);
  host::launch(ctx, [=] { multiply(product, a, b, z); });
}

// Skips a gradient that nobody wants.
template <typename T>
void launch_multiply_grad(Context& ctx, const MatrixProduct& product, const Tensor& x, const Tensor& y,
                          const Tensor& out_grad, Output& x_grad, Output& y_grad) {
  const T* a = host::in<T>(x);
  const T* b = host::in<T>(y);
  const T* g = host::in<T>(out_grad);
  if (x_grad) {
    ctx.resize(x_grad, x.shape);
    T* dx = host::out<T>(ctx, x_grad);
    host::launch(ctx, [=] { multiply_grad_x(product, b, g, dx); });
  }
  if (y_grad) {
    ctx.resize(y_grad, y.shape);
    T* dy = host::out<T>(ctx, y_grad);
    host::launch(ctx, [=] { multiply_grad_y(product, a, g, dy); });
  }
}

}  // namespace adapter::kernels
