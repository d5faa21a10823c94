// Between Python objects and what a kernel call is made of.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <deque>
#include <vector>

#include "adapter_sdk/kernel.h"
#include "bindings/host_backend.h"

namespace adapter::bindings {

namespace py = pybind11;

// The records behind the tensors of one call; their addresses stay valid while it lasts.
struct Arena {
  std::deque<HostTensor> tensors;
  std::vector<py::array> arrays;  // keeps converted inputs and in-place outputs alive
};

// Throws InvalidArgument for a name that is no dtype of a tensor.
DType dtype_named(const std::string& name);

// `value` is None, an array or a list of arrays, as `kind` asks. A kernel other than `contiguous` and `strided_copy`
// gets row-major copies of arrays that are not row-major. Throws InvalidArgument.
std::vector<Tensor> to_inputs(const py::handle& value, int32_t kind, bool keep_strides, Arena& arena);

// `value` is None, (shape, dtype), an array to write into, or a list of these, as `kind` asks. Throws InvalidArgument.
std::vector<Output> to_outputs(const py::handle& value, int32_t kind, Arena& arena);

// Throws InvalidArgument when `value` cannot stand for an attribute of this kind.
Attribute to_attribute(const py::handle& value, int32_t kind);

// What the kernel wrote: memory that it allocated moves into the array, memory of the caller is copied.
py::array to_array(Output& output);

}  // namespace adapter::bindings
