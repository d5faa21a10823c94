#include <string>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "contraction.h"

namespace adapter::kernels {

// The matrices of an operand, axes that stand in it alone summed up. Half types are computed with in float throughout.
template <typename T>
std::vector<Compute<T>> matrices_of(const Contraction& c, int which, const T* operand) {
  const Arrangement& arrangement = c.arranged[which];
  std::vector<Accumulator<T>> sum(static_cast<size_t>(c.size(arrangement.axes)));
  each_arranged(c, c.terms[which], arrangement, [&](int64_t to, int64_t from) {
    sum[static_cast<size_t>(to)] += static_cast<Accumulator<T>>(operand[from]);
  });
  return std::vector<Compute<T>>(sum.begin(), sum.end());
}

// The result in the order of its own labels.
template <typename T>
void contract(const Contraction& c, const T* x, const T* y, T* out) {
  using C = Compute<T>;
  std::vector<C> product = matrices_of(c, 0, x);
  if (!c.single) {
    const std::vector<C> left = std::move(product), right = matrices_of(c, 1, y);
    product.assign(static_cast<size_t>(c.batch * c.m * c.n), C(0));
    for (int64_t i = 0; i < c.batch; ++i)
      gemm<C>(false, false, c.m, c.n, c.k, left.data() + i * c.m * c.k, right.data() + i * c.k * c.n, C(0),
              product.data() + i * c.m * c.n);
  }
  std::fill(out, out + c.result.shape.numel(), T(0));
  each_arranged(c, c.result, c.product,
                [&](int64_t from, int64_t to) { out[to] = product[static_cast<size_t>(from)]; });
}

// The gradient of one operand: the product of the result's gradient and the other operand, spread over the axes that
// were summed, and added up where the operand was broadcast.
template <typename T>
void contract_grad(const Contraction& c, int which, const T* other, const T* out_grad, T* grad) {
  using C = Compute<T>;
  std::vector<C> flow(static_cast<size_t>(c.size(c.product.axes)));
  each_arranged(c, c.result, c.product,
                [&](int64_t to, int64_t from) { flow[static_cast<size_t>(to)] = out_grad[from]; });
  if (!c.single) {
    const std::vector<C> result_grad = std::move(flow), matrices = matrices_of(c, 1 - which, other);
    flow.assign(static_cast<size_t>(c.size(c.arranged[which].axes)), C(0));
    for (int64_t i = 0; i < c.batch; ++i) {
      const C* g = result_grad.data() + i * c.m * c.n;
      if (which == 0)
        gemm<C>(false, true, c.m, c.k, c.n, g, matrices.data() + i * c.k * c.n, C(0), flow.data() + i * c.m * c.k);
      else
        gemm<C>(true, false, c.k, c.n, c.m, matrices.data() + i * c.m * c.k, g, C(0), flow.data() + i * c.k * c.n);
    }
  }
  std::vector<Accumulator<T>> sum(static_cast<size_t>(c.terms[which].shape.numel()));
  each_arranged(c, c.terms[which], c.arranged[which], [&](int64_t from, int64_t to) {
    sum[static_cast<size_t>(to)] += static_cast<Accumulator<T>>(flow[static_cast<size_t>(from)]);
  });
  std::transform(sum.begin(), sum.end(), grad, [](Accumulator<T> value) { return static_cast<T>(value); });
}

inline std::vector<Shape> shapes_of(const TensorList& tensors) {
  std::vector<Shape> shapes;
  for (const Tensor& tensor : tensors) shapes.push_back(tensor.shape);
  return shapes;
}

// Paddle hands the gradient what the forward call left in the shapes and the caches, not the operands. The operands are
// kept with the shapes; the caches, which Paddle's own kernels fill with permuted operands, stay empty.
template <typename T>
void keep_operands(Context& ctx, const TensorList& operands, OutputList& caches, OutputList& shapes) {
  for (Output& cache : caches) {
    if (!cache) continue;
    ctx.resize(cache, {0});
    host::out<T>(ctx, cache);
  }
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (!shapes[i]) continue;
    ctx.resize(shapes[i], operands[i].shape);
    T* r = host::out<T>(ctx, shapes[i]);
    const T* a = host::in<T>(operands[i]);
    host::launch(ctx, [=, n = operands[i].numel()] { std::copy(a, a + n, r); });
  }
}

template <typename T>
void einsum(Context& ctx, const TensorList& operands, const std::string& equation, Output& out,
            OutputList& inner_caches, OutputList& x_shapes) {
  const Contraction plan(equation, shapes_of(operands));
  ctx.resize(out, plan.result.shape);
  T* r = host::out<T>(ctx, out);
  keep_operands<T>(ctx, operands, inner_caches, x_shapes);
  const T *a = host::in<T>(operands.front()), *b = host::in<T>(operands.back());
  host::launch(ctx, [=] { contract(plan, a, b, r); });
}

template <typename T>
void einsum_grad(Context& ctx, const TensorList& operands, const TensorList& /*inner_caches*/, const Tensor& out_grad,
                 const std::string& equation, OutputList& grads) {
  const Contraction plan(equation, shapes_of(operands));
  const T* g = host::in<T>(out_grad);
  for (size_t i = 0; i < grads.size(); ++i) {
    if (!grads[i]) continue;
    ctx.resize(grads[i], operands[i].shape);
    T* r = host::out<T>(ctx, grads[i]);
    const T* other = host::in<T>(operands[operands.size() - 1 - i]);
    host::launch(ctx, [=, which = static_cast<int>(i)] { contract_grad(plan, which, other, g, r); });
  }
}

ADAPTER_KERNEL("einsum", einsum, same, float, double, float16, bfloat16)
ADAPTER_KERNEL("einsum_grad", einsum_grad, same, float, double, float16, bfloat16)

}  // namespace adapter::kernels
