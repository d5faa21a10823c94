#include "bridge/python_kernel.h"

#include <cstring>
#include <sstream>

#include "abi/paddle_api.h"

namespace adapter::bridge {
namespace {

using detail::Argument;
using detail::Role;

struct Word {
  const char* name;
  Role role;
  int32_t kind;
  bool floating;
};

template <typename Parameter>
constexpr Word word() {
  using Raw = typename Argument<Parameter>::Raw;
  return {Argument<Parameter>::name, Argument<Parameter>::role, Argument<Parameter>::kind,
          std::is_floating_point_v<Raw>};
}

// Every word that a signature may hold, from the list of parameter types that native kernels may have.
const Word kWords[] = {word<const Tensor&>(),
                       word<const OptionalTensor&>(),
                       word<const TensorList&>(),
                       word<const OptionalTensorList&>(),
                       word<bool>(),
                       word<float>(),
                       word<double>(),
                       word<int32_t>(),
                       word<int64_t>(),
                       word<const std::string&>(),
                       word<const Scalar&>(),
                       word<const IntArray&>(),
                       word<DType>(),
                       word<const std::vector<int32_t>&>(),
                       word<const std::vector<int64_t>&>(),
                       word<const std::vector<float>&>(),
                       word<const std::vector<double>&>(),
                       word<const std::vector<Scalar>&>(),
                       word<Output&>(),
                       word<OutputList&>()};

template <typename Parameter>
constexpr int32_t kind_of = Argument<Parameter>::kind;

const Word& find_word(const std::string& name, Role role, const std::string& operator_name) {
  std::string known;
  for (const Word& word : kWords) {
    if (word.role != role) continue;
    if (name == word.name) return word;
    known += (known.empty() ? "" : ", ") + std::string(word.name);
  }
  throw InvalidArgument("kernel " + operator_name + ": its signature holds '" + name + "'; known there are " + known);
}

// ---- C++ values as Python objects

Ref object(bool value) { return Ref(PyBool_FromLong(value)); }
Ref object(int64_t value) { return checked(PyLong_FromLongLong(value)); }
Ref object(int32_t value) { return object(static_cast<int64_t>(value)); }
Ref object(double value) { return checked(PyFloat_FromDouble(value)); }
Ref object(float value) { return object(static_cast<double>(value)); }
Ref object(const std::string& value) {
  return checked(PyUnicode_DecodeUTF8(value.data(), static_cast<Py_ssize_t>(value.size()), "replace"));
}
Ref none() {
  Py_INCREF(Py_None);
  return Ref(Py_None);
}

template <typename List, typename Make>
Ref tuple_of(const List& values, Make&& make) {
  Ref tuple = checked(PyTuple_New(static_cast<Py_ssize_t>(values.size())));
  Py_ssize_t place = 0;
  for (const auto& value : values) PyTuple_SetItem(tuple.get(), place++, make(value).release());
  return tuple;
}

template <typename List>
Ref tuple_of(const List& values) {
  return tuple_of(values, [](const auto& value) { return object(value); });
}

bool whole_numbers(DType dtype) {
  return dtype != DType::float16 && dtype != DType::bfloat16 && dtype != DType::float32 && dtype != DType::float64;
}

}  // namespace

// Exactly one of `registers` (eager) and `kernel_context` (static) is there.
struct PythonKernel::Call {
  Call(const PythonKernel& kernel, const Registers* registers, void* kernel_context)
      : kernel(&kernel), registers(registers), kernel_context(kernel_context) {
    singles.reserve(kernel.inputs_.size());
    outputs.reserve(kernel.outputs_.size());
  }

  const PythonKernel* kernel;
  const Registers* registers;
  void* kernel_context;
  std::vector<Tensor> singles;    // inputs that are no lists, by parameter
  std::vector<TensorList> lists;  // the others
  std::vector<Output> outputs;
  std::vector<OutputList> output_lists;
  Context* context = nullptr;

  uint64_t whole(const Parameter& p) const {
    return p.on_stack ? registers->stack[p.place] : registers->whole[p.place];
  }
  const void* pointer(const Parameter& p) const { return reinterpret_cast<const void*>(whole(p)); }
  template <typename Number>
  Number floating(const Parameter& p) const {
    Number value;
    std::memcpy(&value,
                p.on_stack ? static_cast<const void*>(&registers->stack[p.place])
                           : static_cast<const void*>(&registers->floating[p.place]),
                sizeof value);
    return value;
  }
};

namespace {
thread_local void* running = nullptr;  // PythonKernel::Call of this thread; calls nest
PyObject* context_object = nullptr;
}  // namespace

// ---- construction
// -----------------------------------------------------------------------------------------------------

PythonKernel::PythonKernel(std::string operator_name, const std::string& signature, DType dtype, PyObject* function,
                           const ArrayMaker& arrays)
    : operator_name_(std::move(operator_name)),
      dtype_(dtype),
      special_(operator_name_ == "contiguous"     ? Special::contiguous
               : operator_name_ == "strided_copy" ? Special::strided_copy
                                                  : Special::none),
      function_(function),
      arrays_(arrays) {
  std::istringstream text(signature);
  std::string part;
  std::getline(text, part, '|');
  inputs_ = parameters(part, Role::input, kernel_.inputs);
  std::getline(text, part, '|');
  attributes_ = parameters(part, Role::attribute, kernel_.attributes);
  part.clear();
  std::getline(text, part, '|');
  outputs_ = parameters(part, Role::output, kernel_.outputs);
  Py_INCREF(function_);
  kernel_.signature = signature;
  kernel_.row.struct_size = sizeof kernel_.row;
  kernel_.row.operator_name = operator_name_.c_str();
  kernel_.row.signature = kernel_.signature.c_str();
  kernel_.row.dtype = static_cast<int32_t>(dtype);
}

std::vector<PythonKernel::Parameter> PythonKernel::parameters(const std::string& words, Role role,
                                                              std::vector<int32_t>& kinds) {
  std::vector<Parameter> found;
  std::istringstream text(words);
  for (std::string name; std::getline(text, name, ',');) {
    const Word& word = find_word(name, role, operator_name_);
    size_t& next = word.floating ? next_floating_ : next_whole_;
    const bool on_stack = next >= (word.floating ? 8 : 6);
    found.push_back({word.kind, word.floating, on_stack ? next_stack_++ : next, on_stack});
    if (!on_stack) ++next;
    kinds.push_back(word.kind);
  }
  return found;
}

// ---- the call
// ---------------------------------------------------------------------------------------------------------

void PythonKernel::call_eager(const Registers& registers) {
  try {
    Call call(*this, &registers, nullptr);
    for (const Parameter& p : inputs_) {
      const void* raw = call.pointer(p);
      if (p.kind == kind_of<const Tensor&>)
        call.singles.push_back(detail::eager_tensor(raw));
      else if (p.kind == kind_of<const OptionalTensor&>)
        call.singles.push_back(detail::eager_optional(raw));
      else
        call.lists.push_back(p.kind == kind_of<const TensorList&> ? detail::eager_tensors(raw)
                                                                  : detail::eager_optional_tensors(raw));
    }
    for (const Parameter& p : outputs_) {
      void* raw = const_cast<void*>(call.pointer(p));
      if (p.kind == kind_of<Output&>)
        call.outputs.push_back(detail::eager_output(raw));
      else
        call.output_lists.push_back(detail::eager_outputs(raw));
    }
    run(call, reinterpret_cast<const void*>(registers.whole[0]), false);
  } catch (...) {
    detail::rethrow_to_paddle(kernel_);
  }
}

void PythonKernel::call_static(void* kernel_context) {
  try {
    Call call(*this, nullptr, kernel_context);
    detail::StaticReader reader{kernel_context};
    for (const Parameter& p : inputs_) {
      if (p.kind == kind_of<const Tensor&>)
        call.singles.push_back(detail::static_tensor(reader));
      else if (p.kind == kind_of<const OptionalTensor&>)
        call.singles.push_back(detail::static_optional(reader));
      else
        call.lists.push_back(p.kind == kind_of<const TensorList&> ? detail::static_tensors(reader)
                                                                  : detail::static_optional_tensors(reader));
    }
    for (const Parameter& p : outputs_) {
      if (p.kind == kind_of<Output&>)
        call.outputs.push_back(detail::static_output(reader));
      else
        call.output_lists.push_back(detail::static_outputs(reader));
    }
    run(call, detail::device_context_of(kernel_context), true);
  } catch (...) {
    detail::rethrow_to_paddle(kernel_);
  }
}

void PythonKernel::run(Call& call, const void* device_context, bool is_static) {
  detail::run_call({&kernel_, device_context, is_static}, &body, &collect, &call);
}

void PythonKernel::collect(detail::CallTensors& tensors, void* raw) {
  Call& call = *static_cast<Call*>(raw);
  for (const Tensor& tensor : call.singles)
    if (tensor.handle) tensors.add(tensor);
  for (const TensorList& list : call.lists) tensors.add(list);
  for (Output& output : call.outputs) tensors.add(output);
  for (OutputList& list : call.output_lists) tensors.add(list);
}

namespace {

// Some operators leave even the number of dimensions to the kernel; then it reads as 0.
bool shape_known(const Output& out) {
  PD_Status status = PD_SUCCESS;
  return out.shape.known() && (out.shape.rank > 0 || abi::paddle().PD_TensorGetNumDims(
                                                         static_cast<const PD_Tensor*>(out.handle), &status) >= 0);
}

void allocate(Context& ctx, Output& out, DType fallback) {
  if (out && !out.allocated && shape_known(out)) ctx.alloc(out, out.dtype == DType::undefined ? fallback : out.dtype);
}

// Makes a call the one that context methods of this thread speak of.
class Running {
 public:
  explicit Running(void* call) : before_(running) { running = call; }
  ~Running() { running = before_; }

 private:
  void* before_;
};

}  // namespace

// Memory is asked for before the interpreter's lock is taken: see Arena.
void PythonKernel::body(Context& ctx, void* raw) {
  Call& call = *static_cast<Call*>(raw);
  const PythonKernel& self = *call.kernel;
  call.context = &ctx;
  if (self.special_ == Special::strided_copy) self.lay_out_view(ctx, call);
  for (Output& out : call.outputs) allocate(ctx, out, self.dtype_);
  for (OutputList& list : call.output_lists)
    for (Output& out : list) allocate(ctx, out, self.dtype_);
  {
    Gil gil;
    const Running mine(&call);
    self.call_function(ctx, call);
  }
  for (const Output& out : call.outputs) detail::require_allocated(out);
  // A list may hold tensors that only a gradient reads (einsum's caches): those without a shape may stay empty.
  for (const OutputList& list : call.output_lists)
    for (const Output& out : list)
      if (out && shape_known(out)) detail::require_allocated(out);
}

namespace {

// Arguments of a call of Python, owned until it is over.
class Given {
 public:
  explicit Given(size_t count) : objects_(count <= kInline ? inline_ : new PyObject*[count]) {}
  ~Given() {
    while (size_ > 0) Py_DECREF(objects_[--size_]);
    if (objects_ != inline_) delete[] objects_;
  }
  Given(const Given&) = delete;
  Given& operator=(const Given&) = delete;
  void add(Ref value) { objects_[size_++] = value.release(); }
  PyObject* const* data() const { return objects_; }
  size_t size() const { return size_; }

 private:
  static constexpr size_t kInline = 12;
  PyObject* inline_[kInline];
  PyObject** objects_;
  size_t size_ = 0;
};

}  // namespace

void PythonKernel::call_function(Context& ctx, Call& call) const {
  Given given(1 + inputs_.size() + attributes_.size() + outputs_.size());
  Py_INCREF(context_object);
  given.add(Ref(context_object));
  size_t single = 0, list = 0;
  for (const Parameter& p : inputs_) {
    if (p.kind == kind_of<const Tensor&> || p.kind == kind_of<const OptionalTensor&>)
      given.add(input(ctx, call.singles[single++], p.kind == kind_of<const OptionalTensor&>));
    else
      given.add(tuple_of(call.lists[list++], [&](const Tensor& tensor) { return input(ctx, tensor, false); }));
  }
  detail::StaticReader reader{call.kernel_context};
  for (const Parameter& p : attributes_) given.add(attribute(call, p, call.registers ? nullptr : &reader));
  const auto result = [&](const Output& out) {
    if (!out || !out.allocated) return none();
    if (special_ == Special::strided_copy) {
      const StridedLayout layout = ctx.layout(out);
      return arrays_.array(out, true, &layout.strides);
    }
    return arrays_.array(out, true);
  };
  single = list = 0;
  for (const Parameter& p : outputs_)
    given.add(p.kind == kind_of<Output&> ? result(call.outputs[single++])
                                         : tuple_of(call.output_lists[list++], result));
  checked(PyObject_Vectorcall(function_, given.data(), given.size(), nullptr));
}

Ref PythonKernel::input(Context& ctx, const Tensor& tensor, bool optional) const {
  if (optional && tensor.handle == nullptr) return none();
  if (special_ == Special::none) return arrays_.array(tensor, false);
  const StridedLayout layout = ctx.layout(tensor);  // these two operators alone see views
  return arrays_.array(tensor, false, &layout.strides);
}

Ref PythonKernel::attribute(const Call& call, const Parameter& p, detail::StaticReader* reader) const {
#define ADAPTER_TAKE(type, convert, eager, fixed)               \
  if (p.kind == kind_of<type>) {                                \
    const auto value = reader ? detail::fixed(*reader) : eager; \
    return convert;                                             \
  }
  ADAPTER_TAKE(bool, object(value), static_cast<bool>(call.whole(p) & 0xFF), static_bool)
  ADAPTER_TAKE(int32_t, object(value), static_cast<int32_t>(call.whole(p)), static_int32)
  ADAPTER_TAKE(int64_t, object(value), static_cast<int64_t>(call.whole(p)), static_int64)
  ADAPTER_TAKE(float, object(value), call.floating<float>(p), static_float)
  ADAPTER_TAKE(double, object(value), call.floating<double>(p), static_double)
  ADAPTER_TAKE(const std::string&, object(value), detail::eager_string(call.pointer(p)), static_string)
  ADAPTER_TAKE(DType, value == DType::undefined ? none() : arrays_.dtype(value),
               detail::eager_dtype(static_cast<int32_t>(call.whole(p))), static_dtype)
  const auto number = [&](const Scalar& scalar) {
    return whole_numbers(dtype_) ? object(scalar.integer) : object(scalar.real);
  };
  ADAPTER_TAKE(const Scalar&, number(value), detail::eager_scalar(call.pointer(p)), static_scalar)
  ADAPTER_TAKE(const IntArray&, tuple_of(value), detail::eager_int_array(call.pointer(p)), static_int_array)
  ADAPTER_TAKE(const std::vector<int32_t>&, tuple_of(value), detail::eager_int32s(call.pointer(p)), static_int32s)
  ADAPTER_TAKE(const std::vector<int64_t>&, tuple_of(value), detail::eager_int64s(call.pointer(p)), static_int64s)
  ADAPTER_TAKE(const std::vector<float>&, tuple_of(value), detail::eager_floats(call.pointer(p)), static_floats)
  ADAPTER_TAKE(const std::vector<double>&, tuple_of(value), detail::eager_doubles(call.pointer(p)), static_doubles)
  ADAPTER_TAKE(const std::vector<Scalar>&, tuple_of(value, number), detail::eager_scalars(call.pointer(p)),
               static_scalars)
#undef ADAPTER_TAKE
  throw DeviceError("no way is known to hand over an attribute of Paddle's kind " + std::to_string(p.kind));
}

// strided_copy writes through a view on storage that exists: its attributes are the view's shape, strides and offset.
void PythonKernel::lay_out_view(Context& ctx, Call& call) const {
  detail::StaticReader reader{call.kernel_context};
  const auto sizes = [&](const Parameter& p) {
    return call.registers ? detail::eager_int64s(call.pointer(p)) : detail::static_int64s(reader);
  };
  const Shape shape(sizes(attributes_.at(0)));
  const Shape strides(sizes(attributes_.at(1)));
  const int64_t offset =
      call.registers ? static_cast<int64_t>(call.whole(attributes_.at(2))) : detail::static_int64(reader);
  ctx.set_layout(call.outputs.at(0), shape, {strides, offset});
}

// ---- what the context object of Python can do
// -------------------------------------------------------------------------

void PythonKernel::set_context(PyObject* context) {
  Py_INCREF(context);
  Py_XDECREF(std::exchange(context_object, context));
}

namespace {

template <typename Work>
PyObject* answered(Work&& work) {
  try {
    return work();
  } catch (const InvalidArgument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const OutOfMemory& error) {
    PyErr_SetString(PyExc_MemoryError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_OSError, error.what());
  }
  return nullptr;
}

}  // namespace

// Methods of a struct that this file alone knows.
struct ContextMethods {
  using Call = PythonKernel::Call;

  static Call& call() {
    if (running == nullptr) throw InvalidArgument("no kernel is running on this thread");
    return *static_cast<Call*>(running);
  }

  static PyObject* card(PyObject*, PyObject*) {
    return answered([] { return object(static_cast<int64_t>(call().context->card())).release(); });
  }

  // Number of the kernel's dtype.
  static PyObject* dtype(PyObject*, PyObject*) {
    return answered([] { return object(call().kernel->kernel_.row.dtype).release(); });
  }

  // The object that create() of StreamFunctions returned; None for a synchronous device.
  static PyObject* stream(PyObject*, PyObject* synchronous) {
    return answered([&] {
      if (PyObject_IsTrue(synchronous)) return none().release();
      auto* stream = static_cast<PyObject*>(call().context->stream());
      Py_INCREF(stream);
      return stream;
    });
  }

  static PyObject* random(PyObject*, PyObject* increment) {
    return answered([&] {
      const auto [seed, number] = call().context->random(static_cast<uint64_t>(integer(increment)));
      return Py_BuildValue("KK", static_cast<unsigned long long>(seed), static_cast<unsigned long long>(number));
    });
  }

  // (place of the output, shape, number of the dtype)
  static PyObject* allocate(PyObject*, PyObject* arguments) {
    return answered([&]() -> PyObject* {
      int place = 0, dtype = 0;
      PyObject* dims = nullptr;
      if (!PyArg_ParseTuple(arguments, "iO!i", &place, &PyTuple_Type, &dims, &dtype)) return nullptr;
      Shape shape;
      for (Py_ssize_t i = 0; i < PyTuple_Size(dims); ++i) shape.push_back(integer(PyTuple_GetItem(dims, i)));
      Call& now = call();
      if (place < 0 || static_cast<size_t>(place) >= now.outputs.size())
        throw InvalidArgument("the kernel has no output " + std::to_string(place));
      Output& out = now.outputs[static_cast<size_t>(place)];
      now.context->resize(out, shape);
      now.context->alloc(out, static_cast<DType>(dtype));
      return now.kernel->arrays_.array(out, true).release();
    });
  }
};

PyObject* PythonKernel::methods() {
  static PyMethodDef table[] = {{"card", ContextMethods::card, METH_NOARGS, nullptr},
                                {"dtype", ContextMethods::dtype, METH_NOARGS, nullptr},
                                {"stream", ContextMethods::stream, METH_O, nullptr},
                                {"random", ContextMethods::random, METH_O, nullptr},
                                {"allocate", ContextMethods::allocate, METH_VARARGS, nullptr}};
  Ref functions = checked(PyDict_New());
  for (PyMethodDef& method : table) {
    Ref function = checked(PyCFunction_NewEx(&method, nullptr, nullptr));
    if (PyDict_SetItemString(functions.get(), method.ml_name, function.get()) != 0) throw_python_error();
  }
  return functions.release();
}

}  // namespace adapter::bridge
