// Images brought to another size by repeating or dropping pixels, and the gradient.
#include <algorithm>
#include <string>
#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// One axis: pixel `o` of the result is pixel source(o) of the image.
struct NearestAxis {
  int64_t in = 1, out = 1;
  float ratio = 0;  // in float, as Paddle computes it, so that both choose the same pixel
  bool align_corners = false;

  NearestAxis() = default;
  NearestAxis(int64_t from, int64_t to, double scale, bool align) : in(from), out(to), align_corners(align) {
    if (to <= 1) return;
    if (align)
      ratio = static_cast<float>(from - 1) / static_cast<float>(to - 1);
    else
      ratio = scale > 0 ? static_cast<float>(1.0 / scale) : static_cast<float>(from) / static_cast<float>(to);
  }
  int64_t source(int64_t o) const {
    const auto place = static_cast<int64_t>(ratio * static_cast<float>(o) + (align_corners ? 0.5f : 0.0f));
    return std::min(place, in - 1);
  }
};

// An image [batch, channels, height, width] or channels last: `planes` of pixels that are `inner` elements each.
struct NearestPlan {
  int64_t planes, inner;
  NearestAxis height, width;
  Shape result;
};

// What the call says of the new size. In Paddle's order of precedence: a list of sizes, a tensor of sizes, scales.
struct NearestRequest {
  const OptionalTensor& out_size;
  const OptionalTensorList& size_tensor;
  const OptionalTensor& scale_tensor;
  int32_t out_h, out_w;
  std::vector<double> scale;
};

inline NearestPlan nearest_plan(Context& ctx, const Shape& x, const std::string& layout, NearestRequest request,
                                bool align_corners) {
  if (x.rank != 4) throw Unimplemented("nearest_interp of " + to_string(x) + ": only images of rank 4 are implemented");
  const bool last = layout == "NHWC";
  const int64_t in_h = x[last ? 1 : 2], in_w = x[last ? 2 : 3];
  int64_t out_h = request.out_h, out_w = request.out_w;
  std::vector<double> scale;
  if (request.size_tensor.size() >= 2) {
    out_h = read_scalar<int32_t>(ctx, request.size_tensor[0]);
    out_w = read_scalar<int32_t>(ctx, request.size_tensor[1]);
  } else {
    scale = request.scale;
    if (request.scale_tensor) {
      std::vector<float> values(static_cast<size_t>(request.scale_tensor.numel()));
      ctx.read(values.data(), request.scale_tensor);
      scale.assign(values.begin(), values.end());
    }
    if (scale.size() == 1) scale.push_back(scale[0]);
    if (scale.size() >= 2 && scale[0] > 0 && scale[1] > 0) {
      out_h = static_cast<int64_t>(static_cast<float>(in_h) * static_cast<float>(scale[0]));
      out_w = static_cast<int64_t>(static_cast<float>(in_w) * static_cast<float>(scale[1]));
    }
    if (request.out_size) {
      int32_t sizes[2];
      if (request.out_size.numel() != 2 || request.out_size.dtype != DType::int32)
        throw InvalidArgument("nearest_interp: OutSize must be two int32 numbers");
      ctx.read(sizes, request.out_size);
      out_h = sizes[0], out_w = sizes[1];
    }
  }
  if (out_h <= 0 || out_w <= 0)
    throw InvalidArgument("nearest_interp: the result would be " + std::to_string(out_h) + " x " +
                          std::to_string(out_w));
  const bool scaled = scale.size() >= 2 && !request.out_size;
  NearestPlan plan{last ? x[0] : x[0] * x[1], last ? x[3] : 1, {}, {}, {}};
  plan.height = NearestAxis(in_h, out_h, scaled ? scale[0] : 0, align_corners);
  plan.width = NearestAxis(in_w, out_w, scaled ? scale[1] : 0, align_corners);
  plan.result = last ? Shape{x[0], out_h, out_w, x[3]} : Shape{x[0], x[1], out_h, out_w};
  return plan;
}

template <typename T>
void nearest_interp(Context& ctx, const Tensor& x, const OptionalTensor& out_size,
                    const OptionalTensorList& size_tensor, const OptionalTensor& scale_tensor,
                    const std::string& data_layout, int32_t /*out_d*/, int32_t out_h, int32_t out_w,
                    const std::vector<double>& scale, const std::string& /*interp_method*/, bool align_corners,
                    int32_t /*align_mode*/, Output& out) {
  const NearestPlan plan = nearest_plan(ctx, x.shape, data_layout,
                                        {out_size, size_tensor, scale_tensor, out_h, out_w, scale}, align_corners);
  ctx.resize(out, plan.result);
  T* r = host::out<T>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=] {
    const NearestAxis &h = plan.height, &w = plan.width;
    host::parallel_for(plan.planes, host::rows_grain(h.out * w.out * plan.inner), [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last; ++p) {
        const T* image = a + p * h.in * w.in * plan.inner;
        T* result = r + p * h.out * w.out * plan.inner;
        for (int64_t i = 0; i < h.out; ++i)
          for (int64_t j = 0; j < w.out; ++j, result += plan.inner)
            std::copy_n(image + (h.source(i) * w.in + w.source(j)) * plan.inner, plan.inner, result);
      }
    });
  });
}

// Each pixel of the image gets the sum over the pixels that repeat it.
template <typename T>
void nearest_interp_grad(Context& ctx, const Tensor& x, const OptionalTensor& out_size,
                         const OptionalTensorList& size_tensor, const OptionalTensor& scale_tensor,
                         const Tensor& out_grad, const std::string& data_layout, int32_t /*out_d*/, int32_t out_h,
                         int32_t out_w, const std::vector<double>& scale, const std::string& /*interp_method*/,
                         bool align_corners, int32_t /*align_mode*/, Output& x_grad) {
  using A = Accumulator<T>;
  const NearestPlan plan = nearest_plan(ctx, x.shape, data_layout,
                                        {out_size, size_tensor, scale_tensor, out_h, out_w, scale}, align_corners);
  ctx.resize(x_grad, x.shape);
  T* r = host::out<T>(ctx, x_grad);
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=] {
    const NearestAxis &h = plan.height, &w = plan.width;
    const int64_t size = h.in * w.in * plan.inner;
    host::parallel_for(plan.planes, host::rows_grain(h.out * w.out * plan.inner), [&](int64_t first, int64_t last) {
      std::vector<A> sum(static_cast<size_t>(size));
      for (int64_t p = first; p < last; ++p) {
        std::fill(sum.begin(), sum.end(), A(0));
        const T* flow = g + p * h.out * w.out * plan.inner;
        for (int64_t i = 0; i < h.out; ++i)
          for (int64_t j = 0; j < w.out; ++j, flow += plan.inner) {
            A* target = sum.data() + (h.source(i) * w.in + w.source(j)) * plan.inner;
            for (int64_t k = 0; k < plan.inner; ++k) target[k] += static_cast<A>(flow[k]);
          }
        for (int64_t k = 0; k < size; ++k) r[p * size + k] = static_cast<T>(sum[static_cast<size_t>(k)]);
      }
    });
  });
}

// Up to Paddle 3.2 the scales come as floats.
template <typename T>
void nearest_interp_by_float(Context& ctx, const Tensor& x, const OptionalTensor& out_size,
                             const OptionalTensorList& size_tensor, const OptionalTensor& scale_tensor,
                             const std::string& data_layout, int32_t out_d, int32_t out_h, int32_t out_w,
                             const std::vector<float>& scale, const std::string& interp_method, bool align_corners,
                             int32_t align_mode, Output& out) {
  nearest_interp<T>(ctx, x, out_size, size_tensor, scale_tensor, data_layout, out_d, out_h, out_w,
                    std::vector<double>(scale.begin(), scale.end()), interp_method, align_corners, align_mode, out);
}

template <typename T>
void nearest_interp_grad_by_float(Context& ctx, const Tensor& x, const OptionalTensor& out_size,
                                  const OptionalTensorList& size_tensor, const OptionalTensor& scale_tensor,
                                  const Tensor& out_grad, const std::string& data_layout, int32_t out_d, int32_t out_h,
                                  int32_t out_w, const std::vector<float>& scale, const std::string& interp_method,
                                  bool align_corners, int32_t align_mode, Output& x_grad) {
  nearest_interp_grad<T>(ctx, x, out_size, size_tensor, scale_tensor, out_grad, data_layout, out_d, out_h, out_w,
                         std::vector<double>(scale.begin(), scale.end()), interp_method, align_corners, align_mode,
                         x_grad);
}

ADAPTER_KERNEL("nearest_interp", nearest_interp, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("nearest_interp_grad", nearest_interp_grad, wide, float, double, float16, bfloat16)
ADAPTER_KERNEL("nearest_interp", nearest_interp_by_float, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("nearest_interp_grad", nearest_interp_grad_by_float, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
