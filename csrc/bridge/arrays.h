// Device memory as Python functions see it: NumPy arrays where the host can read it, else records of address and shape.
#pragma once

#include "adapter_sdk/tensor.h"
#include "bridge/python.h"

namespace adapter::bridge {

struct ArrayMaker {
  // `capsule` is NumPy's C interface, `dtypes` a dict from number (plugin_table.h) to numpy.dtype, `device_tensor` the
  // class made instead of an array where the host cannot read device memory; NULL where it can.
  ArrayMaker(PyObject* capsule, PyObject* dtypes, PyObject* device_tensor);

  // A view of the memory, which it does not own: valid during the call it is made for. `strides` are in elements; NULL
  // for a dense array.
  Ref array(const Tensor& tensor, bool writable, const Shape* strides = nullptr) const;
  Ref bytes(void* address, size_t size, bool writable) const;
  Ref dtype(DType dtype) const;

 private:
  using NewFromDescr = PyObject* (*)(PyTypeObject*, PyObject*, int, const Py_ssize_t*, const Py_ssize_t*, void*, int,
                                     PyObject*);
  NewFromDescr new_from_descr_ = nullptr;
  PyTypeObject* array_type_ = nullptr;
  PyObject* dtypes_[14] = {};
  PyObject* device_tensor_ = nullptr;
};

}  // namespace adapter::bridge
