#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "axis_slices.h"

namespace adapter::kernels {

// Place of the j-th factor of a slice, counted from the end where `reverse` asks for it.
inline int64_t factor_place(const AxisSlices& slices, int64_t offset, int64_t j, bool reverse) {
  return offset + (reverse ? slices.length - 1 - j : j) * slices.inner;
}

// Running products along an axis. `exclusive` leaves out the element itself, `reverse` starts at the end.
template <typename T>
void cumprod(Context& ctx, const Tensor& x, int32_t axis, bool exclusive, bool reverse, Output& out) {
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, slices = AxisSlices(x.shape, axis)] {
    slices.each([&](int64_t, int64_t offset) {
      Accumulator<T> product{1};
      for (int64_t j = 0; j < slices.length; ++j) {
        const int64_t k = factor_place(slices, offset, j, reverse);
        const auto value = static_cast<Accumulator<T>>(static_cast<Compute<T>>(a[k]));  // `out` may be `x`
        if (exclusive) r[k] = static_cast<T>(product);
        product *= value;
        if (!exclusive) r[k] = static_cast<T>(product);
      }
    });
  });
}

// x_grad[j] = (product of x[i < j]) * s[j], where s[j] = sum over i >= j of out_grad[i] * (product of x[j < k <= i])
// follows from s[j + 1]; no division, so that zeros are right.
template <typename T>
void cumprod_grad(Context& ctx, const Tensor& x, const Tensor& /*out*/, const Tensor& out_grad, int32_t axis,
                  bool exclusive, bool reverse, Output& x_grad) {
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T *a = host::in<T>(x), *g = host::in<T>(out_grad);
  host::launch(ctx, [=, slices = AxisSlices(x.shape, axis)] {
    using Sum = Accumulator<T>;
    const auto scratch = [&] { return std::vector<Sum>(static_cast<size_t>(slices.length)); };
    slices.each(scratch, [&](int64_t, int64_t offset, std::vector<Sum>& before) {
      Sum product{1};
      for (int64_t j = 0; j < slices.length; ++j) {
        before[static_cast<size_t>(j)] = product;
        product *= static_cast<Sum>(a[factor_place(slices, offset, j, reverse)]);
      }
      Sum behind{0};
      for (int64_t j = slices.length; j-- > 0;) {
        const int64_t k = factor_place(slices, offset, j, reverse);
        const Sum factor = static_cast<Sum>(a[k]), own = static_cast<Sum>(g[k]);  // x_grad may be out_grad
        if (!exclusive) behind += own;
        r[k] = static_cast<T>(before[static_cast<size_t>(j)] * behind);
        behind = exclusive ? own + factor * behind : factor * behind;
      }
    });
  });
}

ADAPTER_KERNEL("cumprod", cumprod, wide, float, double, float16, bfloat16, int32_t, int64_t)
ADAPTER_KERNEL("cumprod_grad", cumprod_grad, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
