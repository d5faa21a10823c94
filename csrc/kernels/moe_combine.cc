// A token's result is the weighted sum of its experts' rows: y[s] = sum over k of weight[s, k] * x[index[s, k]].
#include <string>
#include <vector>

#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "rows.h"

namespace adapter::kernels {

struct CombinePlan {
  int64_t tokens, k, rows, width;

  CombinePlan(const Tensor& x, const Tensor& weights, const Tensor& index)
      : tokens(weights.shape[0]), k(weights.shape[1]), rows(x.shape[0]), width(x.shape[1]) {
    if (x.shape.rank != 2 || weights.shape.rank != 2 || index.numel() != weights.numel())
      throw InvalidArgument("moe_combine: x of shape " + to_string(x.shape) + ", weights of " +
                            to_string(weights.shape) + ", indices of " + to_string(index.shape));
    if (index.dtype != DType::int32) throw InvalidArgument("moe_combine: scatter_index is not int32");
  }
};

// Weights in T or float32. A row of weight 0 counts nothing, not even a NaN.
template <typename T>
void moe_combine(Context& ctx, const Tensor& x, const Tensor& combine_weights, const Tensor& scatter_index,
                 Output& out) {
  using Sum = Accumulator<T>;
  const CombinePlan plan(x, combine_weights, scatter_index);
  ctx.resize(out, {plan.tokens, plan.width});
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  const int32_t* index = host::in<int32_t>(scatter_index);
  visit_dtype<T, std::conditional_t<is_half<T>, float, float16>>(combine_weights.dtype, "a weight", [&](auto tag) {
    const auto* weights = host::in<typename decltype(tag)::type>(combine_weights);
    host::launch(ctx, [=] {
      host::parallel_for(plan.tokens, host::rows_grain(plan.k * plan.width), [&](int64_t begin, int64_t end) {
        std::vector<Sum> sums(static_cast<size_t>(plan.width));
        for (int64_t i = begin; i < end; ++i) {
          std::fill(sums.begin(), sums.end(), Sum(0));
          for (int64_t slot = i * plan.k; slot < (i + 1) * plan.k; ++slot) {
            const Sum weight = static_cast<Sum>(weights[slot]);
            if (weight == Sum(0)) continue;
            const T* own = a + checked_row("moe_combine", index[slot], slot, plan.rows) * plan.width;
            Sum* sum = sums.data();
            for (int64_t j = 0; j < plan.width; ++j)
              sum[j] += weight * static_cast<Sum>(static_cast<Compute<T>>(own[j]));
          }
          for (int64_t j = 0; j < plan.width; ++j) r[i * plan.width + j] = static_cast<T>(sums[static_cast<size_t>(j)]);
        }
      });
    });
  });
}

// dx[row] = sum of weight * g over the tokens that took the row.
template <typename T, typename W>
void combine_row_gradients(const CombinePlan& plan, const std::vector<int64_t>& rows, const W* weights, const T* g,
                           T* dx) {
  using Sum = Accumulator<T>;
  fill_all(dx, plan.rows * plan.width, T(0));
  const std::vector<int64_t> order = positions_by_row(rows);
  std::vector<size_t> starts;
  for (size_t i = 0; i < order.size(); ++i)
    if (i == 0 || rows[static_cast<size_t>(order[i])] != rows[static_cast<size_t>(order[i - 1])]) starts.push_back(i);
  const int64_t named = static_cast<int64_t>(starts.size());
  starts.push_back(order.size());
  host::parallel_for(named, host::rows_grain(plan.width), [&](int64_t begin, int64_t end) {
    std::vector<Sum> sums(static_cast<size_t>(plan.width));
    for (int64_t group = begin; group < end; ++group) {
      const size_t first = starts[static_cast<size_t>(group)];
      std::fill(sums.begin(), sums.end(), Sum(0));
      for (size_t i = first; i < starts[static_cast<size_t>(group) + 1]; ++i) {
        const Sum weight = static_cast<Sum>(weights[order[i]]);
        const T* own = g + order[i] / plan.k * plan.width;
        Sum* sum = sums.data();
        for (int64_t j = 0; j < plan.width; ++j) sum[j] += weight * static_cast<Sum>(static_cast<Compute<T>>(own[j]));
      }
      T* to = dx + rows[static_cast<size_t>(order[first])] * plan.width;
      for (int64_t j = 0; j < plan.width; ++j) to[j] = static_cast<T>(sums[static_cast<size_t>(j)]);
    }
  });
}

// The weights' gradient is the product with the token's gradient, summed over the row where Paddle asks for [s, k],
// or left apart where it asks for [s, k, width].
template <typename T>
void moe_combine_grad(Context& ctx, const Tensor& x, const Tensor& combine_weights, const Tensor& scatter_index,
                      const Tensor& out_grad, Output& x_grad, Output& weights_grad) {
  using Sum = Accumulator<T>;
  const CombinePlan plan(x, combine_weights, scatter_index);
  const T *a = host::in<T>(x), *g = host::in<T>(out_grad);
  const int32_t* index = host::in<int32_t>(scatter_index);
  T* dx = nullptr;
  if (x_grad) {
    ctx.resize(x_grad, x.shape);
    dx = host::out<T>(ctx, x_grad);
  }
  const bool apart = weights_grad && weights_grad.shape.rank == 3;
  if (weights_grad) ctx.resize(weights_grad, apart ? Shape{plan.tokens, plan.k, plan.width} : combine_weights.shape);
  visit_dtype<T, std::conditional_t<is_half<T>, float, float16>>(combine_weights.dtype, "a weight", [&](auto tag) {
    using W = typename decltype(tag)::type;
    const W* weights = host::in<W>(combine_weights);
    W* dw = weights_grad && !apart ? host::out<W>(ctx, weights_grad) : nullptr;
    T* products = apart ? host::out<T>(ctx, weights_grad) : nullptr;
    host::launch(ctx, [=] {
      std::vector<int64_t> rows(static_cast<size_t>(plan.tokens * plan.k));
      for (size_t i = 0; i < rows.size(); ++i) {
        const int64_t row = checked_row("moe_combine_grad", index[i], static_cast<int64_t>(i), plan.rows);
        rows[i] = static_cast<Sum>(weights[i]) == Sum(0) ? -1 : row;
      }
      if (dx) combine_row_gradients(plan, rows, weights, g, dx);
      if (!dw && !products) return;
      host::parallel_for(plan.tokens * plan.k, host::rows_grain(plan.width), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const T *own = a + index[i] * plan.width, *grad = g + i / plan.k * plan.width;
          if (products)
            for (int64_t j = 0; j < plan.width; ++j)
              products[i * plan.width + j] =
                  static_cast<T>(static_cast<Compute<T>>(own[j]) * static_cast<Compute<T>>(grad[j]));
          Sum sum = 0;
          for (int64_t j = 0; dw && j < plan.width; ++j)
            sum +=
                static_cast<Sum>(static_cast<Compute<T>>(own[j])) * static_cast<Sum>(static_cast<Compute<T>>(grad[j]));
          if (dw) dw[i] = static_cast<W>(sum);
        }
      });
    });
  });
}

ADAPTER_FUSED_KERNEL("moe_combine", moe_combine, wide, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("moe_combine_grad", moe_combine_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
