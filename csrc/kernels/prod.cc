#include <vector>

#include "adapter_sdk/kernel.h"
#include "reduction.h"

namespace adapter::kernels {

template <typename Product>
struct ProductFold {
  using State = Product;
  State start() const { return Product(1); }
  template <typename Value>
  State step(State product, Value value) const {
    return product * static_cast<Product>(value);
  }
  State merge(State a, State b) const { return a * b; }
};

template <typename T>
void prod(Context& ctx, const Tensor& x, const IntArray& axes, bool keep_dim, bool reduce_all, Output& out) {
  using Product = Accumulator<T>;
  reduce<T, T>(ctx, x, axes, keep_dim, reduce_all, out, ProductFold<Product>{},
               [](Product product) { return product; });
}

// x_grad[k] = g * product of the other elements, from products of what lies before and behind: right for zeros too.
template <typename T>
void prod_grad(Context& ctx, const Tensor& x, const Tensor& /*out*/, const Tensor& out_grad, const IntArray& axes,
               bool /*keep_dim*/, bool reduce_all, Output& x_grad) {
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* a = host::in<T>(x);
  const T* g = host::in<T>(out_grad);
  const host::Reduction plan = host::reduction(x.shape, axes, reduce_all);
  host::launch(ctx, [=] {
    using Sum = Accumulator<T>;
    host::for_each_result(plan, [&](int64_t i, auto&& fold) {
      std::vector<int64_t> elements;
      std::vector<Sum> before;
      Sum product{1};
      fold([&](int64_t k) {
        elements.push_back(k);
        before.push_back(product);
        product *= static_cast<Sum>(a[k]);
      });
      Sum behind{1};
      for (size_t j = elements.size(); j-- > 0;) {
        const int64_t k = elements[j];
        r[k] = static_cast<T>(static_cast<Sum>(g[i]) * before[j] * behind);
        behind *= static_cast<Sum>(a[k]);
      }
    });
  });
}

ADAPTER_KERNEL("prod", prod, wide, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("prod_grad", prod_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
