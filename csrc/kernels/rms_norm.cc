#include <cmath>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// The last axes, `normalized_shape`, are normalised together: `count` rows of `width` elements.
struct RmsRows {
  int64_t count, width = 1;
  Shape outer;
  RmsRows(const Shape& shape, const std::vector<int64_t>& normalized_shape) {
    const int first = shape.rank - static_cast<int>(normalized_shape.size());
    if (first < 0)
      throw InvalidArgument("cannot normalise " + std::to_string(normalized_shape.size()) + " axes of " +
                            to_string(shape));
    for (int i = 0; i < shape.rank; ++i) {
      if (i >= first && shape[i] != normalized_shape[static_cast<size_t>(i - first)])
        throw InvalidArgument("the last axes of " + to_string(shape) + " are not normalized_shape " +
                              to_string(Shape(normalized_shape)));
      if (i < first) outer.push_back(shape[i]);
    }
    count = outer.numel();
    width = shape.product(first, shape.rank);
  }
};

template <typename T>
void rms_norm(Context& ctx, const Tensor& x, const OptionalTensor& scale, const std::vector<int64_t>& normalized_shape,
              double epsilon, Output& out, Output& inverse) {
  const RmsRows rows(x.shape, normalized_shape);
  ctx.resize(out, x.shape);
  T* r = host::out<T>(ctx, out);
  using C = Compute<T>;
  C* inverses = nullptr;
  if (inverse) {
    ctx.resize(inverse, rows.outer);
    inverses = host::out<C>(ctx, inverse);
  }
  const T* a = host::in<T>(x);
  const T* w = scale ? host::in<T>(scale) : nullptr;
  host::launch(ctx, [=] {
    for (int64_t i = 0; i < rows.count; ++i) {
      const T* in = a + i * rows.width;
      double squares = 0;
      for (int64_t j = 0; j < rows.width; ++j) squares += static_cast<double>(in[j]) * static_cast<double>(in[j]);
      const double factor = 1 / std::sqrt(squares / static_cast<double>(rows.width) + epsilon);
      if (inverses) inverses[i] = static_cast<C>(factor);
      for (int64_t j = 0; j < rows.width; ++j)
        r[i * rows.width + j] = static_cast<T>(in[j] * factor * (w ? w[j] : T(1)));
    }
  });
}

// With y = x * factor and h = out_grad * scale: x_grad = factor * (h - y * mean of h * y), scale_grad = sum of
// out_grad * y.
template <typename T>
void rms_norm_grad(Context& ctx, const Tensor& x, const OptionalTensor& scale, const Tensor& inverse,
                   const Tensor& out_grad, const std::vector<int64_t>& normalized_shape, double /*epsilon*/,
                   Output& x_grad, Output& scale_grad) {
  const RmsRows rows(x.shape, normalized_shape);
  if (x_grad) ctx.resize(x_grad, x.shape);
  T* dx = x_grad ? host::out<T>(ctx, x_grad) : nullptr;
  T* dw = scale_grad ? host::out<T>(ctx, scale_grad) : nullptr;
  const T* a = host::in<T>(x);
  const T* w = scale ? host::in<T>(scale) : nullptr;
  const auto* inverses = host::in<Compute<T>>(inverse);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=] {
    const int64_t n = rows.width;
    std::vector<double> scale_sum(static_cast<size_t>(n));
    for (int64_t i = 0; i < rows.count; ++i) {
      const double factor = inverses[i];
      double dot = 0;
      for (int64_t j = 0; j < n; ++j) {
        const double y = a[i * n + j] * factor, own = g[i * n + j];
        dot += own * static_cast<double>(w ? w[j] : T(1)) * y;
        scale_sum[static_cast<size_t>(j)] += own * y;
      }
      const double mean = dot / static_cast<double>(n);
      for (int64_t j = 0; dx && j < n; ++j) {
        const double h = g[i * n + j] * static_cast<double>(w ? w[j] : T(1));
        dx[i * n + j] = static_cast<T>(factor * (h - a[i * n + j] * factor * mean));
      }
    }
    for (int64_t j = 0; dw && j < n; ++j) dw[j] = static_cast<T>(scale_sum[static_cast<size_t>(j)]);
  });
}

ADAPTER_FUSED_KERNEL("rms_norm", rms_norm, wide, float, double, float16, bfloat16)
ADAPTER_FUSED_KERNEL("rms_norm_grad", rms_norm_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
