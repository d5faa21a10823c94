// activation(x y + bias) in one pass: bias and activation are applied to the sums before they are stored.
#include <string>
#include <vector>

#include "adapter_sdk/kernel.h"
#include "broadcast_grad.h"
#include "epilogue.h"

namespace adapter::kernels {

// x as a matrix: all but its last axis are rows. Transposed, x has to be a matrix already.
inline MatrixProduct epilogue_product(const Shape& x, const Shape& y, bool trans_x, bool trans_y) {
  if (y.rank != 2 || x.rank < 2 || (trans_x && x.rank != 2))
    throw InvalidArgument(
        "fused_gemm_epilogue multiplies x of two axes or more (transposed: two) and a matrix y, got " + to_string(x) +
        " and " + to_string(y));
  const int64_t last = x[x.rank - 1];
  return {trans_x ? x : Shape{x.product(0, x.rank - 1), last}, y, trans_x, trans_y};
}

// The form of reserve_space is between this kernel and its gradient. Returns NULL where nothing is kept.
template <typename T>
void* epilogue_reserve(Context& ctx, Epilogue epilogue, const Shape& shape, Output& reserve_space) {
  if (!reserve_space) return nullptr;
  ctx.resize(reserve_space, epilogue == Epilogue::none ? Shape{0} : shape);
  return host::out(ctx, reserve_space, epilogue == Epilogue::relu ? DType::boolean : dtype_of<T>);
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
  void* kept = epilogue_reserve<T>(ctx, epilogue, shape, reserve_space);
  const T* a = host::in<T>(x);
  const T* b = host::in<T>(y);
  const T* c = host::in<T>(bias);
  host::launch(ctx, [=] {
    multiply_with_epilogue(p, a, b, r, [=](Compute<T>* row, int64_t at, int64_t column, int64_t n) {
      for (int64_t j = 0; j < n; ++j) row[j] += static_cast<Compute<T>>(c[column + j]);
      keep_for_gradient<T>(epilogue, row, n, kept, at);
      apply_epilogue(epilogue, row, n);
    });
  });
}

// The gradients behind the activation of this very layer, as autograd asks for them: what was kept has the shape of
// out_grad. Its product with the slope is computed panel by panel, never stored.
template <typename T>
struct ActivatedGradients {
  using C = Compute<T>;
  MatrixProduct p;
  EpilogueSlope<T> slope;
  const T *x, *y, *out_grad;

  C flow(int64_t i, int64_t j) const { return static_cast<C>(out_grad[i * p.n + j]) * slope(i * p.n + j); }
  C x_at(int64_t i, int64_t l) const { return static_cast<C>(p.transpose_x ? x[l * p.m + i] : x[i * p.k + l]); }
  C y_at(int64_t l, int64_t j) const { return static_cast<C>(p.transpose_y ? y[j * p.k + l] : y[l * p.n + j]); }

  void of_x(T* dx) const {
    multiply_computed<C>(
        p.m, p.k, p.n, [this](int64_t i, int64_t j) { return flow(i, j); },
        [this](int64_t j, int64_t l) { return y_at(l, j); },
        [=](int64_t i, int64_t l, C sum) { dx[p.transpose_x ? l * p.m + i : i * p.k + l] = static_cast<T>(sum); });
  }
  void of_y(T* dy) const {
    multiply_computed<C>(
        p.k, p.n, p.m, [this](int64_t l, int64_t i) { return x_at(i, l); },
        [this](int64_t i, int64_t j) { return flow(i, j); },
        [=](int64_t l, int64_t j, C sum) { dy[p.transpose_y ? j * p.k + l : l * p.n + j] = static_cast<T>(sum); });
  }
  void of_bias(T* dbias) const {
    host::parallel_for(p.n, std::max<int64_t>(16, host::rows_grain(p.m)), [&](int64_t begin, int64_t end) {
      std::vector<Accumulator<T>> sums(static_cast<size_t>(end - begin));
      for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = begin; j < end; ++j) sums[static_cast<size_t>(j - begin)] += flow(i, j);
      for (int64_t j = begin; j < end; ++j) dbias[j] = static_cast<T>(sums[static_cast<size_t>(j - begin)]);
    });
  }
};

// Allocates a gradient and launches work(its elements). Skips one that nobody wants.
template <typename T, typename Work>
void launch_epilogue_gradient(Context& ctx, const Shape& shape, Output& grad, Work work) {
  if (!grad) return;
  ctx.resize(grad, shape);
  T* to = host::out<T>(ctx, grad);
  host::launch(ctx, [=] { work(to); });
}

// Where x came out of the activation of the layer before: x_grad is multiplied by that slope.
template <typename T>
void multiply_back_sloped(const MatrixProduct& p, const EpilogueSlope<T>& slope, const T* y, const T* out_grad, T* dx) {
  const Shape flow{p.m, p.n}, weight = p.transpose_y ? Shape{p.n, p.k} : Shape{p.k, p.n};
  const MatrixProduct back = p.transpose_x ? MatrixProduct(weight, flow, p.transpose_y, true)
                                           : MatrixProduct(flow, weight, false, !p.transpose_y);
  multiply_with_epilogue(back, p.transpose_x ? y : out_grad, p.transpose_x ? out_grad : y, dx,
                         [=](Compute<T>* row, int64_t at, int64_t, int64_t n) {
                           for (int64_t j = 0; j < n; ++j) row[j] *= slope(at + j);
                         });
}

// activation_grad names the activation of this layer if reserve_space has the shape of out_grad, as autograd passes it,
// and that of the layer before if it has the shape of x, as Paddle's fusion passes for GPUs mean it. Where the two
// shapes are one, autograd is served.
template <typename T>
void fused_gemm_epilogue_grad(Context& ctx, const Tensor& x, const Tensor& y, const OptionalTensor& reserve_space,
                              const Tensor& out_grad, bool trans_x, bool trans_y, const std::string& activation_grad,
                              Output& x_grad, Output& y_grad, Output& bias_grad) {
  const MatrixProduct p = epilogue_product(x.shape, y.shape, trans_x, trans_y);
  const Epilogue epilogue = epilogue_named(activation_grad);
  const T* a = host::in<T>(x);
  const T* b = host::in<T>(y);
  const T* g = host::in<T>(out_grad);
  const int64_t kept = epilogue == Epilogue::none ? -1 : reserve_space ? reserve_space.numel() : 0;
  if (kept >= 0 && kept != p.m * p.n && kept != p.m * p.k)
    throw InvalidArgument("fused_gemm_epilogue_grad: reserve_space " + to_string(reserve_space.shape) +
                          " was kept neither for out " + to_string(out_grad.shape) + " nor for x " +
                          to_string(x.shape));
  const EpilogueSlope<T> slope{epilogue, kept < 0 ? nullptr : host::alias(reserve_space.data)};
  if (kept == p.m * p.n) {
    const ActivatedGradients<T> gradients{p, slope, a, b, g};
    launch_epilogue_gradient<T>(ctx, x.shape, x_grad, [=](T* dx) { gradients.of_x(dx); });
    launch_epilogue_gradient<T>(ctx, y.shape, y_grad, [=](T* dy) { gradients.of_y(dy); });
    launch_epilogue_gradient<T>(ctx, {p.n}, bias_grad, [=](T* dbias) { gradients.of_bias(dbias); });
    return;
  }
  Tensor flow = out_grad;
  flow.shape = {p.m, p.n};
  sum_to_shape<T>(ctx, flow, Shape{p.n}, bias_grad);
  launch_epilogue_gradient<T>(ctx, y.shape, y_grad, [=](T* dy) { multiply_grad_y(p, a, g, Compute<T>(1), dy); });
  launch_epilogue_gradient<T>(ctx, x.shape, x_grad, [=](T* dx) {
    if (kept < 0)
      multiply_grad_x(p, b, g, Compute<T>(1), dx);
    else
      multiply_back_sloped(p, slope, b, g, dx);
  });
}

ADAPTER_FUSED_KERNEL("fused_gemm_epilogue", fused_gemm_epilogue, same, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("fused_gemm_epilogue_grad", fused_gemm_epilogue_grad, same, float, double, float16, bfloat16)

}  // namespace adapter::kernels
