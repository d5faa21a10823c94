// Rows that are normalised one by one: layer_norm, rms_norm and their fused forms, and the gradients of all of them.
// Elements are computed in the type of sums, so that a row of large numbers keeps its digits, and are rounded once.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/fold.h"
#include "dispatch.h"

namespace adapter::kernels {

// Scale or bias: a number for each column, in a dtype of its own. AMP O2 keeps them in float32 beside half inputs.
struct ColumnParameter {
  const void* data = nullptr;
  DType dtype = DType::float32;

  ColumnParameter() = default;
  // Throws InvalidArgument, naming `what`, where the tensor does not have `width` elements.
  ColumnParameter(const Tensor& tensor, int64_t width, const char* what) : dtype(tensor.dtype) {
    if (tensor.numel() != width)
      throw InvalidArgument(std::string(what) + " of shape " + to_string(tensor.shape) + " for rows of " +
                            std::to_string(width) + " elements");
    visit_dtype<float, double, float16, bfloat16>(
        dtype, what, [&](auto tag) { data = host::in<typename decltype(tag)::type>(tensor); });
  }
  ColumnParameter(const OptionalTensor& tensor, int64_t width, const char* what) {
    if (tensor) *this = ColumnParameter(static_cast<const Tensor&>(tensor), width, what);
  }

  // The numbers, or `absent` for every column. To be called inside launch().
  template <typename Sum>
  std::vector<Sum> values(int64_t width, Sum absent) const {
    std::vector<Sum> result(static_cast<size_t>(width), absent);
    if (data == nullptr) return result;
    visit_dtype<float, double, float16, bfloat16>(dtype, "a parameter", [&](auto tag) {
      const auto* from = static_cast<const typename decltype(tag)::type*>(data);
      for (size_t j = 0; j < result.size(); ++j) result[j] = static_cast<Sum>(from[j]);
    });
    return result;
  }
};

// The gradient of a ColumnParameter, in the parameter's dtype; nothing where it is not wanted.
struct ColumnGradient {
  void* data = nullptr;
  DType dtype = DType::float32;

  ColumnGradient() = default;
  ColumnGradient(Context& ctx, Output& output, const Shape& shape, DType parameter_dtype) : dtype(parameter_dtype) {
    if (!output) return;
    ctx.resize(output, shape);
    data = host::out(ctx, output, dtype);
  }
  template <typename Sum>
  void store(int64_t column, Sum sum) const {
    if (data == nullptr) return;
    visit_dtype<float, double, float16, bfloat16>(dtype, "a parameter", [&](auto tag) {
      using P = typename decltype(tag)::type;
      static_cast<P*>(data)[column] = static_cast<P>(sum);
    });
  }
};

// (x - mean) * factor is the normalised row; `square` is the variance, or the mean square where nothing is subtracted.
template <typename Sum>
struct RowMoments {
  Sum mean, square, factor;
};

template <typename Sum, typename Term>
Sum sum_of_terms(int64_t n, Term term) {
  host::Lanes<host::SumFold<Sum>> lanes{host::SumFold<Sum>{}};
  lanes.add(n, term);
  return lanes.result();
}

template <typename Sum, typename C>
RowMoments<Sum> row_moments(const C* x, int64_t n, bool centred, double epsilon) {
  const auto count = static_cast<Sum>(n);
  RowMoments<Sum> m{};
  if (centred) m.mean = sum_of_terms<Sum>(n, [=](int64_t j) { return x[j]; }) / count;
  const Sum mean = m.mean;
  m.square = sum_of_terms<Sum>(n,
                               [=](int64_t j) {
                                 const Sum apart = static_cast<Sum>(x[j]) - mean;
                                 return apart * apart;
                               }) /
             count;
  m.factor = 1 / std::sqrt(m.square + static_cast<Sum>(epsilon));
  return m;
}

// The row in the type of intermediates: where it lies, or widened into `stage`.
template <typename T>
const Compute<T>* widened_row(const T* row, int64_t n, Compute<T>* stage) {
  if constexpr (is_half<T>) {
    host::widen(row, 1, stage, n);
    return stage;
  } else {
    return row;
  }
}

// Rows of `width` elements, several cores. `read(i, stage)` gives row i in the type of intermediates, perhaps in
// `stage`; `done(i, moments, row)` takes the normalised, scaled and shifted row, which lies in `stage` unless
// `target(i)` names a place. To be called inside launch().
template <typename T>
struct NormForward {
  using C = Compute<T>;
  using Sum = Accumulator<T>;
  int64_t rows, width;
  bool centred;
  double epsilon;
  ColumnParameter scale, bias;

  template <typename Read, typename Target, typename Done>
  void run(Read read, Target target, Done done) const {
    const std::vector<Sum> w = scale.values<Sum>(width, Sum(1)), b = bias.values<Sum>(width, Sum(0));
    host::parallel_for(rows, host::rows_grain(width), [&](int64_t begin, int64_t end) {
      std::vector<C> stage(static_cast<size_t>(width));
      for (int64_t i = begin; i < end; ++i) {
        const C* x = read(i, stage.data());
        const RowMoments<Sum> m = row_moments<Sum>(x, width, centred, epsilon);
        C* y = target(i);
        if (y == nullptr) y = stage.data();
        const Sum *ws = w.data(), *bs = b.data();
        ADAPTER_INDEPENDENT
        for (int64_t j = 0; j < width; ++j)
          y[j] = static_cast<C>((static_cast<Sum>(x[j]) - m.mean) * m.factor * ws[j] + bs[j]);
        done(i, m, y);
      }
    });
  }

  // From rows of T to rows of T, which may be the same. `keep(i, moments)` stores the statistics.
  template <typename Keep>
  void run_plain(const T* x, T* r, Keep keep) const {
    const int64_t n = width;
    run([=](int64_t i, C* stage) { return widened_row(x + i * n, n, stage); },
        [=](int64_t i) -> C* {
          if constexpr (is_half<T>)
            return nullptr;
          else
            return r + i * n;
        },
        [=](int64_t i, const RowMoments<Sum>& m, const C* y) {
          keep(i, m);
          if constexpr (is_half<T>) host::narrow(y, r + i * n, 1, n);
        });
  }
};

// With y = (x - mean) * factor and h = g * scale:
// dx = factor * (h - mean of h - y * mean of h * y), scale's gradient = sum of g * y, bias's = sum of g over the rows.
// Without centring, mean and mean of h are 0. dx may lie in the storage of g.
template <typename T>
struct NormBackward {
  using C = Compute<T>;
  using Sum = Accumulator<T>;
  int64_t rows, width;
  bool centred;
  const T *x, *g;
  T* dx;
  ColumnParameter scale;
  ColumnGradient scale_grad, bias_grad;

  // `moments(i)` gives mean and factor of row i. To be called inside launch().
  template <typename Moments>
  void run(Moments moments) const {
    const std::vector<Sum> w = scale.values<Sum>(width, Sum(1));
    // Each chunk of rows has column sums of its own; the chunks follow from the shape, and so does the order of terms.
    const int64_t tall = std::max(host::rows_grain(width), (rows + 63) / 64);
    const int64_t chunks = (rows + tall - 1) / tall;
    std::vector<Sum> sums(static_cast<size_t>(2 * chunks * width));
    host::parallel_for(rows, tall, [&](int64_t begin, int64_t end) {
      std::vector<C> stage(static_cast<size_t>(3 * width));
      Sum* own = sums.data() + begin / tall * 2 * width;
      for (int64_t i = begin; i < end; ++i) row(i, moments(i), w.data(), stage.data(), own, own + width);
    });
    host::parallel_for(width, 256, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) {
        Sum scale_sum = 0, bias_sum = 0;
        for (int64_t c = 0; c < chunks; ++c) {
          scale_sum += sums[static_cast<size_t>(2 * c * width + j)];
          bias_sum += sums[static_cast<size_t>((2 * c + 1) * width + j)];
        }
        scale_grad.store(j, scale_sum);
        bias_grad.store(j, bias_sum);
      }
    });
  }

 private:
  void row(int64_t i, const RowMoments<Sum>& m, const Sum* w, C* stage, Sum* scale_sum, Sum* bias_sum) const {
    const int64_t n = width;
    const C* xs = widened_row(x + i * n, n, stage);
    const C* gs = widened_row(g + i * n, n, stage + n);
    const Sum mean = m.mean, factor = m.factor;
    ADAPTER_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) {
      scale_sum[j] += static_cast<Sum>(gs[j]) * ((static_cast<Sum>(xs[j]) - mean) * factor);
      bias_sum[j] += static_cast<Sum>(gs[j]);
    }
    if (dx == nullptr) return;
    const Sum mean_hy =
        sum_of_terms<Sum>(
            n,
            [=](int64_t j) { return static_cast<Sum>(gs[j]) * w[j] * ((static_cast<Sum>(xs[j]) - mean) * factor); }) /
        static_cast<Sum>(n);
    Sum mean_h = 0;
    if (centred)
      mean_h = sum_of_terms<Sum>(n, [=](int64_t j) { return static_cast<Sum>(gs[j]) * w[j]; }) / static_cast<Sum>(n);
    C* r = stage + 2 * n;
    if constexpr (!is_half<T>) r = dx + i * n;
    ADAPTER_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) {
      const Sum y = (static_cast<Sum>(xs[j]) - mean) * factor;
      r[j] = static_cast<C>(factor * (static_cast<Sum>(gs[j]) * w[j] - mean_h - y * mean_hy));
    }
    if constexpr (is_half<T>) host::narrow(r, dx + i * n, 1, n);
  }
};

}  // namespace adapter::kernels
