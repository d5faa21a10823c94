// A plugin written in Python, as Paddle and the SDK see it: the same table and the same callbacks as a native one,
// filled from what its hooks return (adapter_sdk.bridge.specification).
#include <dlfcn.h>

#include <cstdlib>
#include <deque>
#include <memory>
#include <string>

#include "abi/plugin_table.h"
#include "adapter_sdk/device.h"
#include "bridge/python_device.h"
#include "bridge/trampolines.h"

namespace adapter {
namespace bridge {
namespace {

constexpr const char* kOwnFile = "libadapter_python";  // the SDK's own copy, which may stand for any plugin
constexpr const char* kNameVariable = "ADAPTER_SDK_PYTHON_PLUGIN";

struct Plugin {
  std::deque<std::string> strings;  // what PluginInfo points to
  PluginInfo info{};
  std::unique_ptr<ArrayMaker> arrays;
  std::unique_ptr<PythonDevice> device;
  std::deque<PythonKernel> kernels;
};

// Until the plugin is loaded: enough for the table to be read and to say so.
Plugin& plugin() {
  static Plugin& plugin = [&]() -> Plugin& {
    auto& made = *new Plugin;  // outlives exit hooks
    made.info = {"python", "adapter-sdk", ADAPTER_SDK_VERSION, "python", "", ">=3.0,<3.4", 0, {}};
    return made;
  }();
  return plugin;
}

// "mychip" for a copy of this file named libmychip.so.
std::string plugin_name() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&plugin_name), &info) == 0 || info.dli_fname == nullptr) return {};
  std::string name = info.dli_fname;
  name = name.substr(name.rfind('/') + 1);
  name = name.substr(0, name.find(".so"));
  if (name == kOwnFile) {
    const char* given = std::getenv(kNameVariable);
    return given ? given : "";
  }
  return name.compare(0, 3, "lib") == 0 ? name.substr(3) : name;
}

PyObject* end_of_python(PyObject*, PyObject*) {
  end_python();
  Py_RETURN_NONE;
}

PyMethodDef end_method = {"end_of_python", end_of_python, METH_NOARGS, nullptr};

const char* keep(Plugin& made, PyObject* record, const char* name) {
  made.strings.push_back(text(attribute(record, name).get()));
  return made.strings.back().c_str();
}

std::vector<Ref> items(PyObject* sequence) {
  std::vector<Ref> found;
  const Py_ssize_t size = PySequence_Size(sequence);
  if (size < 0) throw_python_error();
  for (Py_ssize_t i = 0; i < size; ++i) found.push_back(checked(PySequence_GetItem(sequence, i)));
  return found;
}

PluginInfo info_from(Plugin& made, PyObject* specification) {
  PluginInfo info{};
  info.name = keep(made, specification, "name");
  info.vendor = keep(made, specification, "vendor");
  info.version = keep(made, specification, "version");
  info.device_type = keep(made, specification, "device_type");
  info.sub_device_type = keep(made, specification, "sub_device_type");
  info.paddle_versions = keep(made, specification, "paddle_versions");
  info.features = static_cast<uint32_t>(integer(attribute(specification, "features").get()));
  for (const Ref& peak : items(attribute(specification, "peaks").get())) {
    const std::vector<Ref> pair = items(peak.get());
    info.peaks.push_back({static_cast<int32_t>(integer(pair.at(0).get())), real(pair.at(1).get())});
  }
  return info;
}

void add_kernel(Plugin& made, PyObject* record) {
  const auto number = [&](const char* name) { return static_cast<int32_t>(integer(attribute(record, name).get())); };
  made.kernels.emplace_back(text(attribute(record, "operator").get()), text(attribute(record, "signature").get()),
                            static_cast<DType>(number("dtype")), attribute(record, "function").get(), *made.arrays);
  AdapterKernelRow& row = made.kernels.back().kernel().row;
  row.accumulator = number("accumulator");
  row.provenance = number("provenance");
  row.flags = static_cast<uint32_t>(number("flags"));
  bind_trampoline(made.kernels.back());
}

void fill(Plugin& made, PyObject* specification) {
  set_describer(attribute(specification, "describe_error").get());
  Ref device_tensor = attribute(specification, "device_tensor");
  made.arrays = std::make_unique<ArrayMaker>(attribute(specification, "numpy_interface").get(),
                                             attribute(specification, "dtypes").get(),
                                             device_tensor.get() == Py_None ? nullptr : device_tensor.get());
  std::vector<size_t> memory;
  for (const Ref& bytes : items(attribute(specification, "memory_bytes").get()))
    memory.push_back(static_cast<size_t>(integer(bytes.get())));
  made.device = std::make_unique<PythonDevice>(attribute(specification, "memory").get(),
                                               attribute(specification, "streams").get(), memory, *made.arrays);
  Ref methods(PythonKernel::methods());
  Ref stop = checked(PyCFunction_NewEx(&end_method, nullptr, nullptr));
  Ref start = attribute(specification, "start");
  Ref context = checked(PyObject_CallFunctionObjArgs(start.get(), methods.get(), stop.get(), nullptr));
  PythonKernel::set_context(context.get());
  for (const Ref& kernel : items(attribute(specification, "kernels").get())) add_kernel(made, kernel.get());
  made.info = info_from(made, specification);
  for (PythonKernel& kernel : made.kernels) kernel_table().push_back(&kernel.kernel());
  abi::announce_plugin_table();
}

// Once; afterwards plugin(), kernel_table() and the exported table are the plugin's.
void load() {
  Plugin& made = plugin();
  if (made.device) return;
  const std::string name = plugin_name();
  if (name.empty())
    throw InvalidArgument(std::string("this library may stand for any plugin written in Python, and ") + kNameVariable +
                          " does not say for which; call adapter_sdk.mount(NAME) before import paddle");
  Gil gil;
  Ref module = checked(PyImport_ImportModule("adapter_sdk.bridge"));
  Ref function = attribute(module.get(), "specification");
  Ref specification = checked(PyObject_CallFunction(function.get(), "s", name.c_str()));
  fill(made, specification.get());
}

}  // namespace
}  // namespace bridge

// Mounting asks for the device before it reads anything else of the plugin.
Device& plugin_device() {
  bridge::load();
  return *bridge::plugin().device;
}
const PluginInfo& plugin_info() { return bridge::plugin().info; }

}  // namespace adapter

// Loads the plugin ahead of Paddle. Called with the interpreter's lock. Returns 0, or -1 with a Python error set.
extern "C" __attribute__((visibility("default"))) int adapter_bridge_load() {
  try {
    adapter::bridge::load();
    return 0;
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    return -1;
  }
}
