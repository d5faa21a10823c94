// Batches of matrix products, with broadcast batch axes, and their gradients.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
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

  // Numbers of the matrices of X and Y that make result number z.
  std::pair<int64_t, int64_t> operands(int64_t z) const {
    const Shape of_x = host::broadcast_strides(x_batch, batch), of_y = host::broadcast_strides(y_batch, batch);
    std::pair<int64_t, int64_t> numbers{0, 0};
    for (int axis = batch.rank - 1; axis >= 0; --axis) {
      const int64_t index = z % batch[axis];
      z /= batch[axis];
      numbers.first += index * of_x[axis];
      numbers.second += index * of_y[axis];
    }
    return numbers;
  }
  double work() const { return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }

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

// Matrices of a batch that one core should take together: small ones are not worth a chunk each.
inline int64_t batch_grain(const MatrixProduct& p) {
  constexpr double kMultiplications = 1 << 20;
  return std::max<int64_t>(1, static_cast<int64_t>(kMultiplications / std::max(p.work(), 1.0)));
}

template <typename T>
void multiply(const MatrixProduct& p, const T* x, const T* y, T* z) {
  host::parallel_for(p.batch.numel(), batch_grain(p), [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l) {
      const auto [i, j] = p.operands(l);
      gemm<T>(p.transpose_x, p.transpose_y, p.m, p.n, p.k, x + i * p.m * p.k, y + j * p.k * p.n, Compute<T>(0),
              z + l * p.m * p.n);
    }
  });
}

// One term of a sum of products: A[m, k] and B[k, n], as gemm() takes them.
template <typename T>
struct ProductTerm {
  const T *a, *b;
};

// C[m, n] = factor * sum of A * B over the terms, rounded once.
template <typename T>
void sum_products(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                  const std::vector<ProductTerm<T>>& terms, Compute<T> factor, T* c) {
  if (factor == Compute<T>(1) && (terms.size() == 1 || !is_half<T>)) {
    if (terms.empty()) std::fill(c, c + m * n, T(0));
    for (size_t i = 0; i < terms.size(); ++i)
      gemm<T>(transpose_a, transpose_b, m, n, k, terms[i].a, terms[i].b, Compute<T>(i > 0), c);
    return;
  }
  const int64_t lda = transpose_a ? m : k, ldb = transpose_b ? k : n;
  const int64_t rows = std::max<int64_t>(1, (1 << 22) / std::max<int64_t>(1, n * std::max<int64_t>(k, 1)));
  host::parallel_for(m, rows, [&](int64_t begin, int64_t end) {
    std::vector<Compute<T>> sum(static_cast<size_t>((end - begin) * n));
    for (size_t i = 0; i < terms.size() && n * k > 0; ++i)
      gemm_tile<T>(transpose_a, transpose_b, end - begin, n, k, terms[i].a + begin * (transpose_a ? 1 : lda), lda,
                   terms[i].b, ldb, Compute<T>(i > 0), sum.data(), n);
    for (size_t j = 0; j < sum.size(); ++j) c[begin * n + static_cast<int64_t>(j)] = factor * sum[j];
  });
}

// Calls target(number, terms) for every matrix of an operand, where `terms` are the results that it took part in.
template <typename Target>
void each_served(const MatrixProduct& p, bool of_x, Target&& target) {
  std::vector<std::vector<int64_t>> served(static_cast<size_t>((of_x ? p.x_batch : p.y_batch).numel()));
  for (int64_t l = 0; l < p.batch.numel(); ++l) {
    const auto [i, j] = p.operands(l);
    served[static_cast<size_t>(of_x ? i : j)].push_back(l);
  }
  host::parallel_for(static_cast<int64_t>(served.size()), batch_grain(p), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) target(i, served[static_cast<size_t>(i)]);
  });
}

// dX = factor * dZ * op(Y)^T, stored as X is; summed over the batch elements that one X served.
template <typename T>
void multiply_grad_x(const MatrixProduct& p, const T* y, const T* dz, Compute<T> factor, T* dx) {
  each_served(p, true, [&](int64_t i, const std::vector<int64_t>& served) {
    std::vector<ProductTerm<T>> terms;
    for (const int64_t l : served) {
      const T *matrix = y + p.operands(l).second * p.k * p.n, *g = dz + l * p.m * p.n;
      terms.push_back(p.transpose_x ? ProductTerm<T>{matrix, g} : ProductTerm<T>{g, matrix});
    }
    T* target = dx + i * p.m * p.k;
    if (p.transpose_x)
      sum_products<T>(p.transpose_y, true, p.k, p.m, p.n, terms, factor, target);
    else
      sum_products<T>(false, !p.transpose_y, p.m, p.k, p.n, terms, factor, target);
  });
}

// dY = factor * op(X)^T * dZ, stored as Y is; summed over the batch elements that one Y served.
template <typename T>
void multiply_grad_y(const MatrixProduct& p, const T* x, const T* dz, Compute<T> factor, T* dy) {
  each_served(p, false, [&](int64_t j, const std::vector<int64_t>& served) {
    std::vector<ProductTerm<T>> terms;
    for (const int64_t l : served) {
      const T *matrix = x + p.operands(l).first * p.m * p.k, *g = dz + l * p.m * p.n;
      terms.push_back(p.transpose_y ? ProductTerm<T>{g, matrix} : ProductTerm<T>{matrix, g});
    }
    T* target = dy + j * p.k * p.n;
    if (p.transpose_y)
      sum_products<T>(true, p.transpose_x, p.n, p.k, p.m, terms, factor, target);
    else
      sum_products<T>(!p.transpose_x, false, p.k, p.n, p.m, terms, factor, target);
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

// The gradients are multiplied by `factor`. Skips a gradient that nobody wants.
template <typename T>
void launch_multiply_grad(Context& ctx, const MatrixProduct& product, const Tensor& x, const Tensor& y,
                          const Tensor& out_grad, Output& x_grad, Output& y_grad, Compute<T> factor = 1) {
  const T* a = host::in<T>(x);
  const T* b = host::in<T>(y);
  const T* g = host::in<T>(out_grad);
  if (x_grad) {
    ctx.resize(x_grad, x.shape);
    T* dx = host::out<T>(ctx, x_grad);
    host::launch(ctx, [=] { multiply_grad_x(product, b, g, factor, dx); });
  }
  if (y_grad) {
    ctx.resize(y_grad, y.shape);
    T* dy = host::out<T>(ctx, y_grad);
    host::launch(ctx, [=] { multiply_grad_y(product, a, g, factor, dy); });
  }
}

}  // namespace adapter::kernels
