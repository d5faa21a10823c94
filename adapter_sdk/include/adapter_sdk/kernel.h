// How a kernel is written: one function template, one ADAPTER_KERNEL line.
//
//   template <typename T>
//   void relu(Context& ctx, const Tensor& x, Output& out) { ... }
//   ADAPTER_KERNEL("relu", relu, none, float, double)
//
// The parameters of the function ARE its Paddle signature: inputs, then attributes, then outputs, in Paddle's order.
// The table that the plugin exports and the registration in Paddle are made from them; a signature that does not fit
// the running Paddle is refused, never registered wrong.
#pragma once

#include <atomic>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "adapter_sdk/context.h"
#include "adapter_sdk/half.h"
#include "adapter_sdk/plugin_table.h"
#include "adapter_sdk/tensor.h"

namespace adapter {

// Attributes of a call made from outside Paddle (see HostCall).
using Attribute =
    std::variant<bool, int32_t, int64_t, float, double, DType, Scalar, IntArray, std::string, std::vector<int32_t>,
                 std::vector<int64_t>, std::vector<float>, std::vector<double>, std::vector<Scalar>>;

// A call with everything spelled out; an absent optional input or unneeded output is an empty list.
struct HostCall {
  std::vector<std::vector<Tensor>> inputs;
  std::vector<Attribute> attributes;
  std::vector<std::vector<Output>> outputs;
};

// One kernel: an operator in one dtype.
struct Kernel {
  AdapterKernelRow row{};
  std::string signature;
  std::vector<int32_t> inputs, attributes, outputs;  // Paddle's argument kinds
  void* eager_entry = nullptr;
  void* static_entry = nullptr;
  void (*host_entry)(Context&, HostCall&) = nullptr;
};

// All kernels of this library, in order of registration.
std::vector<Kernel*>& kernel_table();

// In which dtype a kernel holds its sums. `same`: its own dtype, float32 for the half types (BLAS's rule). `wide`:
// double for float32 and float64, float32 for the half types.
enum Accumulator { none, same, wide, f32, f64 };

namespace detail {

// ---- what each parameter type means: its Paddle kind, its name in a signature, and how it is decoded ----------------

// Implemented in csrc/abi. `raw` is what Paddle's eager call passes; `context` is phi::KernelContext.
Tensor eager_tensor(const void* raw);
OptionalTensor eager_optional(const void* raw);
TensorList eager_tensors(const void* raw);
OptionalTensorList eager_optional_tensors(const void* raw);
Output eager_output(void* raw);
OutputList eager_outputs(void* raw);
Scalar eager_scalar(const void* raw);
IntArray eager_int_array(const void* raw);
std::string eager_string(const void* raw);
std::vector<int32_t> eager_int32s(const void* raw);
std::vector<int64_t> eager_int64s(const void* raw);
std::vector<float> eager_floats(const void* raw);
std::vector<double> eager_doubles(const void* raw);
std::vector<Scalar> eager_scalars(const void* raw);
DType eager_dtype(int32_t raw);

struct StaticReader {
  void* context;
  size_t input = 0, attribute = 0, output = 0;
};
Tensor static_tensor(StaticReader&);
OptionalTensor static_optional(StaticReader&);
TensorList static_tensors(StaticReader&);
OptionalTensorList static_optional_tensors(StaticReader&);
Output static_output(StaticReader&);
OutputList static_outputs(StaticReader&);
Scalar static_scalar(StaticReader&);
IntArray static_int_array(StaticReader&);
std::string static_string(StaticReader&);
std::vector<int32_t> static_int32s(StaticReader&);
std::vector<int64_t> static_int64s(StaticReader&);
std::vector<float> static_floats(StaticReader&);
std::vector<double> static_doubles(StaticReader&);
std::vector<Scalar> static_scalars(StaticReader&);
DType static_dtype(StaticReader&);
bool static_bool(StaticReader&);
int32_t static_int32(StaticReader&);
int64_t static_int64(StaticReader&);
float static_float(StaticReader&);
double static_double(StaticReader&);

enum class Role { input, attribute, output };

template <typename Parameter>
struct Argument;  // a parameter type that is not listed below is not a Paddle argument

#define ADAPTER_ARGUMENT(parameter, role_, kind_, name_, raw_type, stored, eager_expr, static_expr) \
  template <>                                                                                       \
  struct Argument<parameter> {                                                                      \
    static constexpr Role role = Role::role_;                                                       \
    static constexpr int32_t kind = kind_;                                                          \
    static constexpr const char* name = name_;                                                      \
    using Raw = raw_type;                                                                           \
    using Stored = stored;                                                                          \
    static Stored from_eager(Raw raw) { return eager_expr; }                                        \
    static Stored from_static(StaticReader& reader) { return static_expr; }                         \
  };

ADAPTER_ARGUMENT(const Tensor&, input, 1, "Tensor", const void*, Tensor, eager_tensor(raw), static_tensor(reader))
ADAPTER_ARGUMENT(const OptionalTensor&, input, 24, "OptionalTensor", const void*, OptionalTensor, eager_optional(raw),
                 static_optional(reader))
ADAPTER_ARGUMENT(const TensorList&, input, 25, "TensorList", const void*, TensorList, eager_tensors(raw),
                 static_tensors(reader))
ADAPTER_ARGUMENT(const OptionalTensorList&, input, 26, "OptionalTensorList", const void*, OptionalTensorList,
                 eager_optional_tensors(raw), static_optional_tensors(reader))
ADAPTER_ARGUMENT(bool, attribute, 2, "bool", bool, bool, raw, static_bool(reader))
ADAPTER_ARGUMENT(float, attribute, 5, "float", float, float, raw, static_float(reader))
ADAPTER_ARGUMENT(double, attribute, 6, "double", double, double, raw, static_double(reader))
ADAPTER_ARGUMENT(int32_t, attribute, 7, "int", int32_t, int32_t, raw, static_int32(reader))
ADAPTER_ARGUMENT(int64_t, attribute, 8, "int64", int64_t, int64_t, raw, static_int64(reader))
ADAPTER_ARGUMENT(const std::string&, attribute, 9, "string", const void*, std::string, eager_string(raw),
                 static_string(reader))
ADAPTER_ARGUMENT(const Scalar&, attribute, 10, "Scalar", const void*, Scalar, eager_scalar(raw), static_scalar(reader))
ADAPTER_ARGUMENT(const IntArray&, attribute, 11, "IntArray", const void*, IntArray, eager_int_array(raw),
                 static_int_array(reader))
ADAPTER_ARGUMENT(DType, attribute, 12, "DType", int32_t, DType, eager_dtype(raw), static_dtype(reader))
ADAPTER_ARGUMENT(const std::vector<int32_t>&, attribute, 16, "vector<int>", const void*, std::vector<int32_t>,
                 eager_int32s(raw), static_int32s(reader))
ADAPTER_ARGUMENT(const std::vector<int64_t>&, attribute, 17, "vector<int64>", const void*, std::vector<int64_t>,
                 eager_int64s(raw), static_int64s(reader))
ADAPTER_ARGUMENT(const std::vector<float>&, attribute, 20, "vector<float>", const void*, std::vector<float>,
                 eager_floats(raw), static_floats(reader))
ADAPTER_ARGUMENT(const std::vector<double>&, attribute, 21, "vector<double>", const void*, std::vector<double>,
                 eager_doubles(raw), static_doubles(reader))
ADAPTER_ARGUMENT(const std::vector<Scalar>&, attribute, 23, "vector<Scalar>", const void*, std::vector<Scalar>,
                 eager_scalars(raw), static_scalars(reader))
ADAPTER_ARGUMENT(Output&, output, 1, "Tensor", void*, Output, eager_output(raw), static_output(reader))
ADAPTER_ARGUMENT(OutputList&, output, 25, "TensorList", void*, OutputList, eager_outputs(raw), static_outputs(reader))
#undef ADAPTER_ARGUMENT

// ---- the frame around a call: context, counters, checks, errors (csrc/abi/call.cc)
// -----------------------------------

struct CallFrame {
  Kernel* kernel;
  const void* device_context;  // PD_DeviceContext
  bool is_static;
};

// Tools (poison, canary, interposer) need to see a call's tensors; without tools nothing is collected.
struct CallTensors {
  std::vector<const Tensor*> inputs;
  std::vector<Output*> outputs;
  void add(const Tensor& t) { inputs.push_back(&t); }
  void add(const TensorList& list) {
    for (const Tensor& t : list) inputs.push_back(&t);
  }
  void add(const OptionalTensorList& list) { add(static_cast<const TensorList&>(list)); }
  void add(Output& t) {
    if (t) outputs.push_back(&t);
  }
  void add(OutputList& list) {
    for (Output& t : list) add(t);
  }
  template <typename Other>
  void add(const Other&) {}
};

extern std::atomic<bool> tools_active;

using Body = void (*)(Context&, void* arguments);
using Collect = void (*)(CallTensors&, void* arguments);
void run_call(const CallFrame&, Body, Collect, void* arguments);

// Turns the exception in flight into the one that Paddle understands, naming the kernel.
[[noreturn]] void rethrow_to_paddle(const Kernel& kernel);

// Paddle notices a forgotten output only in the next operator, if at all.
inline void require_allocated(const Output& out) {
  if (out && !out.allocated)
    throw DeviceError("the kernel never allocated its output of shape " + to_string(out.shape));
}
inline void require_allocated(const OutputList& list) {
  for (const Output& out : list) require_allocated(out);
}
template <typename Other>
void require_allocated(const Other&) {}

// ---- entries --------------------------------------------------------------------------------------------------------

// Decodes an argument where the tuple keeps it. A tuple given the decoded value itself would copy it.
template <typename Parameter>
struct EagerArgument {
  typename Argument<Parameter>::Raw raw;
  operator typename Argument<Parameter>::Stored() const { return Argument<Parameter>::from_eager(raw); }
};

// `Tag` keeps two declarations of one function apart.
template <auto Function, typename Tag>
struct Entry;

template <typename Tag, typename... Parameters, void (*Function)(Context&, Parameters...)>
struct Entry<Function, Tag> {
  using Arguments = std::tuple<typename Argument<Parameters>::Stored...>;
  // A pointer, so that it needs no dynamic initialisation: declarations run during static initialisation.
  static inline Kernel* kernel = nullptr;

  static void body(Context& ctx, void* raw) {
    std::apply([&](auto&... a) { Function(ctx, a...), (require_allocated(a), ...); }, *static_cast<Arguments*>(raw));
  }
  static void collect(CallTensors& tensors, void* raw) {
    std::apply([&](auto&... a) { (tensors.add(a), ...); }, *static_cast<Arguments*>(raw));
  }

  static void eager(const void* device_context, typename Argument<Parameters>::Raw... raw) {
    try {
      Arguments arguments{EagerArgument<Parameters>{raw}...};
      run_call({kernel, device_context, false}, &body, &collect, &arguments);
    } catch (...) {
      rethrow_to_paddle(*kernel);
    }
  }

  static void graph(void* kernel_context);

  static void host(Context& ctx, HostCall& call) {
    size_t input = 0, attribute = 0, output = 0;
    Arguments arguments{from_host<Parameters>(call, input, attribute, output)...};
    body(ctx, &arguments);
    give_back(call, arguments, std::index_sequence_for<Parameters...>{});
  }

 private:
  template <typename P>
  static typename Argument<P>::Stored from_host(HostCall& call, size_t& input, size_t& attribute, size_t& output);
  template <size_t... I>
  static void give_back(HostCall& call, Arguments& arguments, std::index_sequence<I...>);
};

const void* device_context_of(void* kernel_context);

template <typename Tag, typename... Parameters, void (*Function)(Context&, Parameters...)>
void Entry<Function, Tag>::graph(void* kernel_context) {
  try {
    StaticReader reader{kernel_context};
    Arguments arguments{Argument<Parameters>::from_static(reader)...};
    run_call({kernel, device_context_of(kernel_context), true}, &body, &collect, &arguments);
  } catch (...) {
    rethrow_to_paddle(*kernel);
  }
}

template <typename T, typename List>
T take_first(const List& list) {
  T value{};
  if (!list.empty()) static_cast<std::decay_t<decltype(list.front())>&>(value) = list.front();
  return value;
}

template <typename Tag, typename... Parameters, void (*Function)(Context&, Parameters...)>
template <typename P>
typename Argument<P>::Stored Entry<Function, Tag>::from_host(HostCall& call, size_t& input, size_t& attribute,
                                                             size_t& output) {
  using Stored = typename Argument<P>::Stored;
  if constexpr (Argument<P>::role == Role::attribute) {
    const Attribute& value = call.attributes.at(attribute++);
    if (!std::holds_alternative<Stored>(value))
      throw InvalidArgument("attribute " + std::to_string(attribute - 1) + " is not a " + Argument<P>::name);
    return std::get<Stored>(value);
  } else if constexpr (std::is_same_v<Stored, TensorList> || std::is_same_v<Stored, OptionalTensorList>) {
    const auto& list = call.inputs.at(input++);
    return Stored(list.begin(), list.end());
  } else if constexpr (std::is_same_v<Stored, OutputList>) {
    const auto& list = call.outputs.at(output++);
    return OutputList(list.begin(), list.end());
  } else if constexpr (Argument<P>::role == Role::output) {
    return take_first<Stored>(call.outputs.at(output++));
  } else {
    return take_first<Stored>(call.inputs.at(input++));
  }
}

// Outputs are decoded as copies; what the kernel allocated goes back to the caller.
template <typename Tag, typename... Parameters, void (*Function)(Context&, Parameters...)>
template <size_t... I>
void Entry<Function, Tag>::give_back(HostCall& call, Arguments& arguments, std::index_sequence<I...>) {
  size_t output = 0;
  auto one = [&](auto& value) {
    using Stored = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<Stored, Output>) {
      auto& slot = call.outputs.at(output++);
      if (!slot.empty()) slot.front() = value;
    } else if constexpr (std::is_same_v<Stored, OutputList>) {
      call.outputs.at(output++).assign(value.begin(), value.end());
    }
  };
  (one(std::get<I>(arguments)), ...);
}

template <typename Parameter>
void describe(Kernel& kernel, Role role, bool& first) {
  using A = Argument<Parameter>;
  if (A::role != role) return;
  (role == Role::input       ? kernel.inputs
   : role == Role::attribute ? kernel.attributes
                             : kernel.outputs)
      .push_back(A::kind);
  kernel.signature += (first ? "" : ",") + std::string(A::name);
  first = false;
}

template <auto Function>
struct Describe;

template <typename... Parameters, void (*Function)(Context&, Parameters...)>
struct Describe<Function> {
  static void fill(Kernel& kernel) {
    for (Role role : {Role::input, Role::attribute, Role::output}) {
      if (role != Role::input) kernel.signature += "|";
      bool first = true;
      (describe<Parameters>(kernel, role, first), ...);
    }
  }
};

inline int32_t accumulator_dtype(Accumulator accumulator, DType dtype) {
  const bool is_half = dtype == DType::float16 || dtype == DType::bfloat16;
  switch (accumulator) {
    case none: return ADAPTER_UNDEFINED;
    case same: return is_half ? ADAPTER_FLOAT32 : static_cast<int32_t>(dtype);
    case wide: return is_half ? ADAPTER_FLOAT32 : ADAPTER_FLOAT64;
    case f32: return ADAPTER_FLOAT32;
    case f64: return ADAPTER_FLOAT64;
  }
  return ADAPTER_UNDEFINED;
}

struct Declaration {
  const char* operator_name;
  Accumulator accumulator;
  int32_t provenance;
  uint32_t flags;
};

template <auto Function, typename Tag>
void declare(const Declaration& declaration, DType dtype) {
  Kernel& kernel = *new Kernel;  // lives as long as the library
  Entry<Function, Tag>::kernel = &kernel;
  Describe<Function>::fill(kernel);
  kernel.row.struct_size = sizeof(AdapterKernelRow);
  kernel.row.operator_name = declaration.operator_name;
  kernel.row.signature = kernel.signature.c_str();
  kernel.row.dtype = static_cast<int32_t>(dtype);
  kernel.row.accumulator = accumulator_dtype(declaration.accumulator, dtype);
  kernel.row.provenance = declaration.provenance;
  kernel.row.flags = declaration.flags;
#ifdef ADAPTER_HOST_ONLY  // a library without Paddle, e.g. the oracle; a plugin has no use for the host entry
  kernel.host_entry = &Entry<Function, Tag>::host;
#else
  kernel.eager_entry = reinterpret_cast<void*>(&Entry<Function, Tag>::eager);
  kernel.static_entry = reinterpret_cast<void*>(&Entry<Function, Tag>::graph);
#endif
  kernel_table().push_back(&kernel);
}

// `Family` is a type of an anonymous namespace, which keeps everything made from it local to its source file. It must
// not be a class template: g++ merges functions whose template template arguments share a name across source files.
template <typename Family, typename... Ts>
bool declare_family(const Declaration& declaration) {
  (declare<Family::template function<Ts>, Family>(declaration, dtype_of<Ts>), ...);
  return true;
}

}  // namespace detail
}  // namespace adapter

// A library whose kernels are the SDK's host implementations defines this as ADAPTER_PROVENANCE_REFERENCE.
#ifndef ADAPTER_KERNEL_PROVENANCE
#define ADAPTER_KERNEL_PROVENANCE ADAPTER_PROVENANCE_OWN
#endif

// ADAPTER_KERNEL("phi kernel name", function template, accumulator, dtypes...)
// accumulator: none | same | wide | f32 | f64 — the dtype in which the kernel holds its sums; the conformance suite
// holds it to that.
#define ADAPTER_KERNEL(operator_name, function_template, accumulator, ...) \
  ADAPTER_KERNEL_WITH_FLAGS(operator_name, function_template, accumulator, 0u, __VA_ARGS__)

// The same for a fused operator.
#define ADAPTER_FUSED_KERNEL(operator_name, function_template, accumulator, ...) \
  ADAPTER_KERNEL_WITH_FLAGS(operator_name, function_template, accumulator, ADAPTER_KERNEL_FUSED, __VA_ARGS__)

#define ADAPTER_KERNEL_WITH_FLAGS(operator_name, function_template, accumulator, flags, ...) \
  ADAPTER_KERNEL_EXPAND(operator_name, function_template, accumulator, flags, __COUNTER__, __VA_ARGS__)
#define ADAPTER_KERNEL_EXPAND(operator_name, function_template, accumulator, flags, counter, ...) \
  ADAPTER_KERNEL_DEFINE(operator_name, function_template, accumulator, flags, counter, __VA_ARGS__)
#define ADAPTER_KERNEL_DEFINE(operator_name, function_template, accumulator, flags, counter, ...) \
  namespace {                                                                                     \
  struct AdapterFamily##counter {                                                                 \
    template <typename T>                                                                         \
    static constexpr auto function = &function_template<T>;                                       \
  };                                                                                              \
  [[maybe_unused]] const bool adapter_declared##counter =                                         \
      ::adapter::detail::declare_family<AdapterFamily##counter, __VA_ARGS__>(                     \
          {operator_name, ::adapter::accumulator, ADAPTER_KERNEL_PROVENANCE, flags});             \
  }
