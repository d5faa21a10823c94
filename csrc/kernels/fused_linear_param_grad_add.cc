// Gradients of a linear layer's weight and bias, added to what was gathered before: dweight + x^T dout and
// dbias + sum(dout). With multi_precision, half types are gathered in float32.
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/fold.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "gemm.h"
#include "gemm_tiles.h"

namespace adapter::kernels {

// The gradients are of type G: T, or float32.
template <typename T, typename G>
struct ParameterGradients {
  const T *x, *dout;
  int64_t m, k, n;

  // to[k, n] = before + x^T dout; without `before` the sum alone.
  void weight(const G* before, G* to) const {
    if (before != nullptr) copy_all(to, before, k * n);
    if (m == 0 || k * n == 0) {
      if (before == nullptr) fill_all(to, k * n, G(0));
      return;
    }
    if constexpr (std::is_same_v<T, G>) {
      gemm<T>(true, false, k, n, m, x, dout, Compute<T>(before != nullptr), to);
    } else {
      const TileSides sides(k, n, m);
      each_tile(k, n, sides.rows, sides.columns, [&](const Tile& tile) {
        gemm_tile<T>(true, false, tile.rows, tile.columns, m, x + tile.row, k, dout + tile.column, n,
                     Compute<T>(before != nullptr), to + tile.row * n + tile.column, n);
      });
    }
  }
  void bias(const G* before, G* to) const {
    using Sum = Accumulator<T>;
    const host::FoldSpace<1> columns(Shape{n}, {Shape{1}}, Shape{m}, {Shape{n}});
    host::fold_results<1>(columns, host::SumFold<Sum>{}, host::Elements<T>{dout}, [=](int64_t j, Sum sum) {
      to[j] = static_cast<G>(before == nullptr ? sum : static_cast<Sum>(static_cast<Compute<G>>(before[j])) + sum);
    });
  }
};

// The gradient gathered so far, if there is one. Throws InvalidArgument if it does not fit.
template <typename G>
const G* gathered(const OptionalTensor& before, const Shape& shape, const char* name) {
  if (!before) return nullptr;
  if (before.dtype != dtype_of<G> || before.shape != shape)
    throw InvalidArgument(std::string("fused_linear_param_grad_add: ") + name + " is " + to_string(before.shape) + " " +
                          name_of(before.dtype) + ", wanted " + to_string(shape) + " " + name_of(dtype_of<G>));
  return host::in<G>(before);
}

template <typename T, typename G>
void launch_parameter_gradients(Context& ctx, const Tensor& x, const Tensor& dout, const OptionalTensor& dweight,
                                const OptionalTensor& dbias, Output& dweight_out, Output& dbias_out) {
  if (x.shape.rank == 0 || x.shape.rank != dout.shape.rank ||
      x.shape.product(0, x.shape.rank - 1) != dout.shape.product(0, dout.shape.rank - 1))
    throw InvalidArgument("fused_linear_param_grad_add: the rows of x " + to_string(x.shape) + " and of dout " +
                          to_string(dout.shape) + " differ");
  const int64_t k = x.shape[x.shape.rank - 1], n = dout.shape[dout.shape.rank - 1];
  const ParameterGradients<T, G> work{host::in<T>(x), host::in<T>(dout), x.shape.product(0, x.shape.rank - 1), k, n};
  if (dweight_out) {
    const G* before = gathered<G>(dweight, {k, n}, "dweight");
    ctx.resize(dweight_out, {k, n});
    G* to = host::out<G>(ctx, dweight_out);
    host::launch(ctx, [=] { work.weight(before, to); });
  }
  if (dbias_out) {
    const G* before = gathered<G>(dbias, {n}, "dbias");
    ctx.resize(dbias_out, {n});
    G* to = host::out<G>(ctx, dbias_out);
    host::launch(ctx, [=] { work.bias(before, to); });
  }
}

template <typename T>
void fused_linear_param_grad_add(Context& ctx, const Tensor& x, const Tensor& dout, const OptionalTensor& dweight,
                                 const OptionalTensor& dbias, bool multi_precision, bool has_bias, Output& dweight_out,
                                 Output& dbias_out) {
  Output without;  // a layer without bias
  Output& bias_out = has_bias ? dbias_out : without;
  if (multi_precision)
    launch_parameter_gradients<T, Compute<T>>(ctx, x, dout, dweight, dbias, dweight_out, bias_out);
  else
    launch_parameter_gradients<T, T>(ctx, x, dout, dweight, dbias, dweight_out, bias_out);
  if (!has_bias && dbias_out) {
    ctx.resize(dbias_out, Shape{0});
    host::out<T>(ctx, dbias_out);
  }
}

ADAPTER_FUSED_KERNEL("fused_linear_param_grad_add", fused_linear_param_grad_add, same, float, double, float16, bfloat16)

}  // namespace adapter::kernels
