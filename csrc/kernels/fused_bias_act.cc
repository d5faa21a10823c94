// activation(x + bias), row by row, with what surrounds it in a quantized model: x may be the int32 result of an int8
// product, out may be int8. geglu and swiglu multiply the activated first half of a row by its second half.
#include <cmath>
#include <string>
#include <vector>

#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"
#include "logistic.h"
#include "numbers.h"

namespace adapter::kernels {

// How results are stored as int8: round(max * scale * value), within [min, max]. scale <= 0: not at all.
struct Int8Store {
  float scale, largest, smallest;
  bool to_even;

  int8_t operator()(float value) const {
    const float scaled = largest * scale * value;
    const float rounded = to_even ? std::nearbyint(scaled) : std::round(scaled);
    const float limited = rounded > largest ? largest : rounded < smallest ? smallest : rounded;
    return limited == limited ? static_cast<int8_t>(std::min(127.0f, std::max(-128.0f, limited))) : int8_t{0};
  }
};

struct BiasAct {
  enum class Method { gelu, relu, geglu, swiglu } method;
  int64_t rows, columns;  // of x
  const void* x;
  bool has_bias, has_scales, has_shift;
  Numbers bias, scales, shift, smooth;
  Int8Store store;

  bool gated() const { return method == Method::geglu || method == Method::swiglu; }
  int64_t width() const { return gated() ? columns / 2 : columns; }

  float activated(float v) const {
    switch (method) {
      case Method::relu: return v > 0 || v != v ? v : 0.0f;
      case Method::swiglu: return v * logistic(v);
      default: return v * 0.5f * erfc_of(-v * 0.70710678f);  // by erfc, since 1 + erf would cancel
    }
  }
};

inline BiasAct::Method bias_act_method(const std::string& name) {
  if (name == "gelu") return BiasAct::Method::gelu;
  if (name == "relu") return BiasAct::Method::relu;
  if (name == "geglu") return BiasAct::Method::geglu;
  if (name == "swiglu") return BiasAct::Method::swiglu;
  throw Unimplemented("fused_bias_act has the methods 'gelu', 'relu', 'geglu' and 'swiglu', not '" + name + "'");
}

// The operands along a row, in float, for one thread.
struct BiasActRow {
  std::vector<float> x, bias, scales, shift, smooth;

  explicit BiasActRow(const BiasAct& work) {
    const auto read = [](const Numbers& numbers, int64_t n, std::vector<float>& to) {
      to.resize(static_cast<size_t>(n));
      numbers.read(0, n, to.data());
    };
    x.resize(static_cast<size_t>(work.columns));
    if (work.has_bias) read(work.bias, work.columns, bias);
    if (work.has_scales) read(work.scales, work.columns, scales);
    if (!work.has_shift) return;
    read(work.shift, work.width(), shift);
    read(work.smooth, work.width(), smooth);
  }
  // The result of row i lies in the first width() elements of x afterwards.
  template <typename In>
  void compute(const BiasAct& work, int64_t i) {
    const auto n = x.size(), half = static_cast<size_t>(work.width());
    const In* from = static_cast<const In*>(work.x) + i * work.columns;
    if constexpr (std::is_same_v<In, int32_t>) {
      for (size_t j = 0; j < n; ++j) x[j] = static_cast<float>(from[j]) * scales[j];
    } else {
      host::widen(from, 1, x.data(), work.columns);
    }
    if (work.has_bias)
      for (size_t j = 0; j < n; ++j) x[j] += bias[j];
    for (size_t j = 0; j < half; ++j) x[j] = work.activated(x[j]) * (work.gated() ? x[half + j] : 1.0f);
    if (work.has_shift)
      for (size_t j = 0; j < half; ++j) x[j] = (x[j] + shift[j]) * smooth[j];
  }
};

template <typename In, typename Out>
void run_bias_act(const BiasAct& work, Out* out) {
  host::parallel_for(work.rows, host::rows_grain(work.columns), [&](int64_t begin, int64_t end) {
    BiasActRow row(work);
    for (int64_t i = begin; i < end; ++i) {
      row.compute<In>(work, i);
      Out* to = out + i * work.width();
      if constexpr (std::is_same_v<Out, int8_t>)
        for (int64_t j = 0; j < work.width(); ++j) to[j] = work.store(row.x[static_cast<size_t>(j)]);
      else
        host::narrow(row.x.data(), to, 1, work.width());
    }
  });
}

inline void require_row(const OptionalTensor& tensor, const char* name, int64_t n) {
  if (tensor && tensor.shape != Shape{n})
    throw InvalidArgument(std::string("fused_bias_act: ") + name + " is " + to_string(tensor.shape) + ", wanted [" +
                          std::to_string(n) + "]");
}

// The dtype that an int32 x is turned into.
inline DType bias_act_dtype(const std::string& compute_dtype) {
  if (compute_dtype == "fp32") return DType::float32;
  if (compute_dtype == "fp16") return DType::float16;
  if (compute_dtype == "bf16") return DType::bfloat16;
  throw InvalidArgument("fused_bias_act: for an int32 x compute_dtype has to be 'fp32', 'fp16' or 'bf16', got '" +
                        compute_dtype + "'");
}

template <typename T>
void fused_bias_act(Context& ctx, const Tensor& x, const OptionalTensor& bias, const OptionalTensor& dequant_scales,
                    const OptionalTensor& shift, const OptionalTensor& smooth, const std::string& act_method,
                    const std::string& compute_dtype, float quant_scale, int32_t quant_round_type,
                    float quant_max_bound, float quant_min_bound, Output& out) {
  constexpr bool whole = std::is_same_v<T, int32_t>;
  if (x.shape.rank == 0) throw InvalidArgument("fused_bias_act takes rows, got a 0-D tensor");
  if (whole != static_cast<bool>(dequant_scales))
    throw InvalidArgument(std::string("fused_bias_act: dequant_scales belong to an int32 x, got x ") +
                          name_of(x.dtype) + (whole ? " without" : " with") + " them");
  if (static_cast<bool>(shift) != static_cast<bool>(smooth))
    throw InvalidArgument("fused_bias_act: shift and smooth come together");
  BiasAct work{};
  work.method = bias_act_method(act_method);
  work.columns = x.shape[x.shape.rank - 1];
  work.rows = x.shape.product(0, x.shape.rank - 1);
  if (work.gated() && work.columns % 2 != 0)
    throw InvalidArgument("fused_bias_act: the rows of a gated activation have two halves, got " + to_string(x.shape));
  require_row(bias, "bias", work.columns);
  require_row(dequant_scales, "dequant_scales", work.columns);
  require_row(shift, "shift", work.width());
  require_row(smooth, "smooth", work.width());
  work.x = host::in<T>(x);
  work.has_bias = static_cast<bool>(bias), work.has_scales = whole, work.has_shift = static_cast<bool>(shift);
  if (bias) work.bias = Numbers(bias, "bias");
  if (whole) work.scales = Numbers(dequant_scales, "dequant_scales");
  if (shift) work.shift = Numbers(shift, "shift"), work.smooth = Numbers(smooth, "smooth");
  work.store = {quant_scale, quant_max_bound, quant_min_bound, quant_round_type == 0};
  if (quant_scale > 0 && std::fabs(quant_max_bound) > 127.0f)
    throw Unimplemented("fused_bias_act: results are quantized to int8, which does not hold quant_max_bound = " +
                        std::to_string(quant_max_bound));

  Shape shape = x.shape;
  shape[shape.rank - 1] = work.width();
  ctx.resize(out, shape);
  if (quant_scale > 0) {
    int8_t* r = host::out<int8_t>(ctx, out);
    return host::launch(ctx, [=] { run_bias_act<T>(work, r); });
  }
  const DType result = whole ? bias_act_dtype(compute_dtype) : x.dtype;
  visit_dtype<float, float16, bfloat16>(result, "the result of fused_bias_act", [&](auto tag) {
    using Out = typename decltype(tag)::type;
    if constexpr (whole || std::is_same_v<Out, T>) {
      Out* r = host::out<Out>(ctx, out);
      host::launch(ctx, [=] { run_bias_act<T>(work, r); });
    }
  });
}

ADAPTER_FUSED_KERNEL("fused_bias_act", fused_bias_act, none, float, float16, bfloat16, int32_t)

}  // namespace adapter::kernels
