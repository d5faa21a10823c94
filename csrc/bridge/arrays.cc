#include "bridge/arrays.h"

#include <iterator>
#include <string>

#include "adapter_sdk/error.h"

namespace adapter::bridge {
namespace {

// Places in NumPy's table of functions and flags of an array; fixed by its ABI since NumPy 1.7.
constexpr int kArrayType = 2, kNewFromDescr = 94;
constexpr int kAligned = 0x0100, kWritable = 0x0400;

}  // namespace

ArrayMaker::ArrayMaker(PyObject* capsule, PyObject* dtypes, PyObject* device_tensor) {
  void** table = static_cast<void**>(PyCapsule_GetPointer(capsule, nullptr));
  if (table == nullptr) throw_python_error();
  array_type_ = static_cast<PyTypeObject*>(table[kArrayType]);
  new_from_descr_ = reinterpret_cast<NewFromDescr>(table[kNewFromDescr]);
  for (size_t code = 0; code < std::size(dtypes_); ++code) {
    Ref key = checked(PyLong_FromSize_t(code));
    dtypes_[code] = PyDict_GetItemWithError(dtypes, key.get());
    Py_XINCREF(dtypes_[code]);
  }
  device_tensor_ = device_tensor;
  Py_XINCREF(device_tensor_);
}

Ref ArrayMaker::dtype(DType dtype) const {
  const auto code = static_cast<size_t>(dtype);
  PyObject* found = code < std::size(dtypes_) ? dtypes_[code] : nullptr;
  if (found == nullptr)
    throw InvalidArgument(std::string("a tensor of dtype ") + name_of(dtype) + " has no NumPy form");
  Py_INCREF(found);
  return Ref(found);
}

Ref ArrayMaker::array(const Tensor& tensor, bool writable, const Shape* strides) const {
  const size_t width = size_of(tensor.dtype);
  Ref described = dtype(tensor.dtype);
  if (device_tensor_ != nullptr) {
    Ref shape = checked(PyTuple_New(tensor.shape.rank));
    for (int i = 0; i < tensor.shape.rank; ++i)
      PyTuple_SetItem(shape.get(), i, checked(PyLong_FromLongLong(tensor.shape[i])).release());
    return checked(PyObject_CallFunction(device_tensor_, "KOO",
                                         static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(tensor.data)),
                                         shape.get(), described.get()));
  }
  Py_ssize_t dims[kMaxRank], steps[kMaxRank];
  for (int i = 0; i < tensor.shape.rank; ++i) {
    dims[i] = static_cast<Py_ssize_t>(tensor.shape[i]);
    if (strides) steps[i] = static_cast<Py_ssize_t>((*strides)[i]) * static_cast<Py_ssize_t>(width);
  }
  // NumPy takes the reference to the dtype, and memory of its own for a NULL address: an array without elements.
  return checked(new_from_descr_(array_type_, described.release(), tensor.shape.rank, dims, strides ? steps : nullptr,
                                 tensor.data, kAligned | (writable ? kWritable : 0), nullptr));
}

Ref ArrayMaker::bytes(void* address, size_t size, bool writable) const {
  return array({address, DType::uint8, Shape{static_cast<int64_t>(size)}, nullptr}, writable);
}

}  // namespace adapter::bridge
