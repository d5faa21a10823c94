#include "bindings/register_call.h"

#include <pybind11/stl.h>

#include <exception>
#include <tuple>

#include "bindings/convert.h"

namespace adapter::bindings {
namespace {

std::vector<std::tuple<std::string, std::string, std::string>> kernels() {
  std::vector<std::tuple<std::string, std::string, std::string>> rows;
  for (const Kernel* kernel : kernel_table())
    rows.emplace_back(kernel->row.operator_name, name_of(static_cast<DType>(kernel->row.dtype)), kernel->signature);
  return rows;
}

// The kernels that answer to a name; more than one where a signature differs between releases of Paddle.
std::vector<Kernel*> candidates(const std::string& operator_name, const std::string& dtype) {
  std::vector<Kernel*> found;
  std::string dtypes;
  for (Kernel* kernel : kernel_table()) {
    if (operator_name != kernel->row.operator_name) continue;
    const std::string own = name_of(static_cast<DType>(kernel->row.dtype));
    dtypes += (dtypes.empty() ? "" : ", ") + own;
    if (own == dtype) found.push_back(kernel);
  }
  if (found.empty())
    throw py::key_error(dtypes.empty()
                            ? "no kernel named '" + operator_name + "'; kernels() lists them"
                            : "kernel '" + operator_name + "' has no dtype '" + dtype + "'; it has " + dtypes);
  return found;
}

std::string title(const Kernel& kernel) {
  return std::string("kernel ") + kernel.row.operator_name + " (" + name_of(static_cast<DType>(kernel.row.dtype)) +
         ", signature " + kernel.signature + "): ";
}

Kernel& fitting(const std::vector<Kernel*>& found, size_t inputs, size_t attributes, size_t outputs) {
  for (Kernel* kernel : found)
    if (kernel->inputs.size() == inputs && kernel->attributes.size() == attributes && kernel->outputs.size() == outputs)
      return *kernel;
  const Kernel& first = *found.front();
  throw py::value_error(title(first) + "wanted " + std::to_string(first.inputs.size()) + " inputs, " +
                        std::to_string(first.attributes.size()) + " attributes and " +
                        std::to_string(first.outputs.size()) + " outputs, got " + std::to_string(inputs) + ", " +
                        std::to_string(attributes) + " and " + std::to_string(outputs));
}

// Runs `step`; what it throws becomes the Python exception that Paddle would raise, naming the kernel and `part`.
template <typename Step>
void guarded(const Kernel& kernel, const std::string& part, Step step) {
  const auto raise = [&](PyObject* type, const std::exception& error) {
    PyErr_SetString(type, (title(kernel) + part + error.what()).c_str());
    throw py::error_already_set();
  };
  try {
    step();
  } catch (const OutOfMemory& error) {
    raise(PyExc_MemoryError, error);
  } catch (const Unimplemented& error) {
    raise(PyExc_NotImplementedError, error);
  } catch (const DeviceError& error) {
    raise(PyExc_RuntimeError, error);
  } catch (const InvalidArgument& error) {
    raise(PyExc_ValueError, error);
  } catch (const py::cast_error& error) {
    raise(PyExc_ValueError, error);
  } catch (py::error_already_set& error) {  // raised while Python converted a value
    py::raise_from(error, PyExc_ValueError, (title(kernel) + part + "not convertible").c_str());
    throw py::error_already_set();
  }
}

HostCall to_call(const Kernel& kernel, const py::list& inputs, const py::list& attributes, const py::list& outputs,
                 Arena& arena) {
  HostCall call;
  const std::string name = kernel.row.operator_name;
  const bool keep_strides = name == "contiguous" || name == "strided_copy";
  for (size_t i = 0; i < kernel.inputs.size(); ++i)
    guarded(kernel, "input " + std::to_string(i) + ": ",
            [&] { call.inputs.push_back(to_inputs(inputs[i], kernel.inputs[i], keep_strides, arena)); });
  for (size_t i = 0; i < kernel.attributes.size(); ++i)
    guarded(kernel, "attribute " + std::to_string(i) + ": ",
            [&] { call.attributes.push_back(to_attribute(attributes[i], kernel.attributes[i])); });
  for (size_t i = 0; i < kernel.outputs.size(); ++i)
    guarded(kernel, "output " + std::to_string(i) + ": ",
            [&] { call.outputs.push_back(to_outputs(outputs[i], kernel.outputs[i], arena)); });
  return call;
}

py::object result_of(std::vector<Output>& outputs, bool is_list) {
  const auto one = [](Output& output) -> py::object {
    if (!output) return py::none();
    require_guard_intact(output);
    return to_array(output);
  };
  if (!is_list) return outputs.empty() ? py::none() : one(outputs.front());
  py::list results;
  for (Output& output : outputs) results.append(one(output));
  return std::move(results);
}

py::list call(const std::string& operator_name, const std::string& dtype, const py::list& inputs,
              const py::list& attributes, const py::list& outputs, uint64_t seed) {
  Kernel& kernel = fitting(candidates(operator_name, dtype), inputs.size(), attributes.size(), outputs.size());
  Arena arena;
  HostCall host_call = to_call(kernel, inputs, attributes, outputs, arena);
  HostContext context(seed);
  guarded(kernel, "", [&] {
    const py::gil_scoped_release no_python_inside;
    kernel.host_entry(context, host_call);
  });
  constexpr int32_t kTensorList = 25;
  py::list results;
  for (size_t i = 0; i < host_call.outputs.size(); ++i)
    guarded(kernel, "output " + std::to_string(i) + ": ",
            [&] { results.append(result_of(host_call.outputs[i], kernel.outputs[i] == kTensorList)); });
  return results;
}

}  // namespace

void register_call(py::module_& module) {
  module.def("kernels", &kernels, "(operator, dtype, signature) of every kernel, in order of declaration.");
  module.def(
      "call", &call, py::arg("operator"), py::arg("dtype"), py::arg("inputs"), py::arg("attributes"),
      py::arg("outputs"), py::kw_only(), py::arg("seed") = 0,
      "Runs one kernel. Inputs are arrays, lists of arrays or None; outputs are (shape, dtype), an array to "
      "write into, a list of these, or None for one that is not needed. Returns one array (list, None) an output.");
}

}  // namespace adapter::bindings
