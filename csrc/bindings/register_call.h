#pragma once

#include <pybind11/pybind11.h>

namespace adapter::bindings {

// Adds `kernels()` and `call()`.
void register_call(pybind11::module_& module);

}  // namespace adapter::bindings
