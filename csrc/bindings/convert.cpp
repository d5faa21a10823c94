#include "bindings/convert.h"

#include <limits>

namespace adapter::bindings {
namespace {

// Paddle's argument kinds, as in adapter_sdk/kernel.h.
enum Kind : int32_t {
  kTensor = 1,
  kBool = 2,
  kFloat = 5,
  kDouble = 6,
  kInt32 = 7,
  kInt64 = 8,
  kString = 9,
  kScalar = 10,
  kIntArray = 11,
  kDType = 12,
  kInt32s = 16,
  kInt64s = 17,
  kFloats = 20,
  kDoubles = 21,
  kScalars = 23,
  kOptionalTensor = 24,
  kTensorList = 25,
  kOptionalTensorList = 26,
};

constexpr DType kDTypes[] = {DType::boolean, DType::uint8,   DType::uint16,  DType::uint32, DType::uint64,
                             DType::int8,    DType::int16,   DType::int32,   DType::int64,  DType::float16,
                             DType::float32, DType::float64, DType::bfloat16};

std::string shown(const py::handle& value) { return py::repr(value); }

py::dtype numpy_dtype(DType dtype) {
  if (dtype != DType::bfloat16) return py::dtype(name_of(dtype));
  return py::dtype::from_args(py::module_::import("ml_dtypes").attr("bfloat16"));
}

DType dtype_of_array(const py::array& array) {
  if (!array.dtype().attr("isnative").cast<bool>())
    throw InvalidArgument("an array is not in this machine's byte order: " + shown(array.dtype()));
  return dtype_named(array.dtype().attr("name").cast<std::string>());
}

bool is_row_major(const py::array& array) { return (array.flags() & py::array::c_style) != 0; }

// Fills in everything but the element address.
template <typename Kind>
Kind described(const py::array& array, Arena& arena) {
  Kind tensor;
  tensor.dtype = dtype_of_array(array);
  HostTensor& host = arena.tensors.emplace_back();
  host.external_bytes = static_cast<size_t>(array.nbytes());
  const auto width = static_cast<py::ssize_t>(size_of(tensor.dtype));
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    tensor.shape.push_back(array.shape(i));
    if (array.strides(i) % width != 0) throw InvalidArgument("an array's stride is no multiple of its element size");
    host.layout.strides.push_back(array.strides(i) / width);
  }
  tensor.handle = &host;
  arena.arrays.push_back(array);
  return tensor;
}

Tensor to_input(const py::handle& value, bool keep_strides, Arena& arena) {
  // NumPy hands out scalars where a result has no dimensions; they carry a dtype as arrays do.
  const bool is_scalar = py::isinstance(value, py::module_::import("numpy").attr("generic"));
  if (!is_scalar && !py::isinstance<py::array>(value))
    throw InvalidArgument("an input is no array but " + shown(value));
  auto array = py::array::ensure(value);
  if (!keep_strides && !is_row_major(array)) array = array.attr("copy")("C");
  auto tensor = described<Tensor>(array, arena);
  if (tensor.numel() > 0) tensor.data = const_cast<void*>(array.data());
  arena.tensors.back().external = tensor.data;
  return tensor;
}

Output in_place_output(const py::array& array, Arena& arena) {
  if (!is_row_major(array) || !array.writeable())
    throw InvalidArgument("an array to write into has to be row-major and writeable");
  auto output = described<Output>(array, arena);
  arena.tensors.back().external = const_cast<void*>(array.data());
  return output;
}

Output to_output(const py::handle& value, Arena& arena) {
  if (py::isinstance<py::array>(value)) return in_place_output(py::reinterpret_borrow<py::array>(value), arena);
  if (!py::isinstance<py::tuple>(value) || py::len(value) != 2)
    throw InvalidArgument("an output is neither (shape, dtype) nor an array but " + shown(value));
  Output output;
  for (const py::handle& dim : py::reinterpret_borrow<py::tuple>(value)[0]) output.shape.push_back(dim.cast<int64_t>());
  output.dtype = dtype_named(py::str(py::reinterpret_borrow<py::tuple>(value)[1]));
  output.handle = &arena.tensors.emplace_back();
  return output;
}

// One, none or many, as the parameter's kind says.
template <typename Item, typename Convert>
std::vector<Item> items_of(const py::handle& value, int32_t kind, bool absent_allowed, Convert convert) {
  std::vector<Item> items;
  if (kind == kTensorList || (kind == kOptionalTensorList && !value.is_none())) {
    if (!py::isinstance<py::list>(value)) throw InvalidArgument("wanted a list, got " + shown(value));
    for (const py::handle& item : py::reinterpret_borrow<py::list>(value)) items.push_back(convert(item));
  } else if (!value.is_none()) {
    items.push_back(convert(value));
  } else if (!absent_allowed) {
    throw InvalidArgument("an input that is not optional is None");
  }
  return items;
}

template <typename T>
T integer(const py::handle& value) {
  // bool is an int in Python, but never what is meant here; NumPy's integers answer to __index__.
  if (py::isinstance<py::bool_>(value) || !PyIndex_Check(value.ptr()))
    throw InvalidArgument("wanted an integer, got " + shown(value));
  const auto wide = py::int_(py::reinterpret_borrow<py::object>(value)).cast<int64_t>();
  if (wide < std::numeric_limits<T>::min() || wide > std::numeric_limits<T>::max())
    throw InvalidArgument(shown(value) + " is too large for this integer");
  return static_cast<T>(wide);
}

template <typename T>
T real(const py::handle& value) {
  if (PyNumber_Check(value.ptr()) == 0) throw InvalidArgument("wanted a number, got " + shown(value));
  return static_cast<T>(py::float_(py::reinterpret_borrow<py::object>(value)).cast<double>());
}

Scalar scalar(const py::handle& value) {
  if (PyIndex_Check(value.ptr()) != 0) {
    const auto exact = py::int_(py::reinterpret_borrow<py::object>(value)).cast<int64_t>();
    return {static_cast<double>(exact), exact};
  }
  const auto exact = real<double>(value);
  // A conversion of NaN, infinity or anything beyond int64 is undefined in C++.
  const bool fits = exact >= -9223372036854775808.0 && exact < 9223372036854775808.0;
  return {exact, fits ? static_cast<int64_t>(exact) : 0};
}

template <typename List, typename Convert>
List list_of(const py::handle& value, Convert convert) {
  if (!py::isinstance<py::list>(value) && !py::isinstance<py::tuple>(value))
    throw InvalidArgument("wanted a list, got " + shown(value));
  List list;
  for (const py::handle& item : value) list.push_back(convert(item));
  return list;
}

bool boolean(const py::handle& value) {
  if (!py::isinstance<py::bool_>(value)) throw InvalidArgument("wanted True or False, got " + shown(value));
  return value.cast<bool>();
}

std::string string(const py::handle& value) {
  if (!py::isinstance<py::str>(value)) throw InvalidArgument("wanted a string, got " + shown(value));
  return value.cast<std::string>();
}

}  // namespace

DType dtype_named(const std::string& name) {
  for (DType dtype : kDTypes)
    if (name == name_of(dtype)) return dtype;
  throw InvalidArgument("'" + name + "' is no dtype of a tensor");
}

std::vector<Tensor> to_inputs(const py::handle& value, int32_t kind, bool keep_strides, Arena& arena) {
  return items_of<Tensor>(value, kind, kind == kOptionalTensor || kind == kOptionalTensorList,
                          [&](const py::handle& item) { return to_input(item, keep_strides, arena); });
}

std::vector<Output> to_outputs(const py::handle& value, int32_t kind, Arena& arena) {
  return items_of<Output>(value, kind, true,
                          [&](const py::handle& item) { return item.is_none() ? Output{} : to_output(item, arena); });
}

Attribute to_attribute(const py::handle& value, int32_t kind) {
  switch (kind) {
    case kBool: return boolean(value);
    case kInt32: return integer<int32_t>(value);
    case kInt64: return integer<int64_t>(value);
    case kFloat: return real<float>(value);
    case kDouble: return real<double>(value);
    case kString: return string(value);
    case kScalar: return scalar(value);
    case kDType: return dtype_named(string(value));
    case kIntArray: return list_of<IntArray>(value, integer<int64_t>);
    case kInt32s: return list_of<std::vector<int32_t>>(value, integer<int32_t>);
    case kInt64s: return list_of<std::vector<int64_t>>(value, integer<int64_t>);
    case kFloats: return list_of<std::vector<float>>(value, real<float>);
    case kDoubles: return list_of<std::vector<double>>(value, real<double>);
    case kScalars: return list_of<std::vector<Scalar>>(value, scalar);
    default: throw InvalidArgument("an attribute of unknown kind " + std::to_string(kind));
  }
}

py::array to_array(Output& output) {
  HostTensor& host = *static_cast<HostTensor*>(output.handle);
  const std::vector<py::ssize_t> shape(output.shape.begin(), output.shape.end());
  const py::dtype dtype = numpy_dtype(output.dtype);
  const void* data = output.data;
  py::capsule owner;
  if (host.owned != nullptr) {
    if (data == nullptr) data = host.owned.get();  // without elements
    owner = py::capsule(host.owned.release(), [](void* bytes) { FreeBytes{}(bytes); });
  }
  std::vector<py::ssize_t> strides;
  for (int64_t stride : host.layout.strides) strides.push_back(stride * dtype.itemsize());
  return py::array(dtype, shape, strides, data, owner);  // without an owner it copies
}

}  // namespace adapter::bindings
