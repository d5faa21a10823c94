// The oracle: the SDK's host kernels, callable from Python without Paddle and without a device.
#include <pybind11/pybind11.h>

#include "bindings/register_call.h"

PYBIND11_MODULE(_kernels, module) {
  module.doc() = "The SDK's host kernels on plain host memory: the oracle of the conformance suite.";
  adapter::bindings::register_call(module);
}
