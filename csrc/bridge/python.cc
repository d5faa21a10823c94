#include "bridge/python.h"

#include <atomic>

#include "adapter_sdk/error.h"

namespace adapter::bridge {
namespace {

std::atomic<bool> ended{false};
PyObject* describer = nullptr;

std::string utf8(PyObject* object) {
  Ref bytes(object ? PyUnicode_AsEncodedString(object, "utf-8", "backslashreplace") : nullptr);
  const char* data = bytes ? PyBytes_AsString(bytes.get()) : nullptr;
  if (data == nullptr) PyErr_Clear();
  return data ? data : "";
}

// Never throws and leaves no Python error behind: it is used to report one.
std::string described(PyObject* type, PyObject* value, PyObject* trace) {
  std::string words;
  if (describer != nullptr) {
    Ref answer(
        PyObject_CallFunctionObjArgs(describer, type, value ? value : Py_None, trace ? trace : Py_None, nullptr));
    if (answer) words = utf8(answer.get());
  }
  if (words.empty()) {
    PyErr_Clear();
    Ref name(PyObject_GetAttrString(type, "__name__"));
    Ref said(value ? PyObject_Str(value) : nullptr);
    words = utf8(name.get()) + ": " + utf8(said.get());
  }
  PyErr_Clear();
  return words;
}

bool is(PyObject* type, PyObject* kind) { return PyErr_GivenExceptionMatches(type, kind) != 0; }

}  // namespace

Gil::Gil() {
  if (ended.load(std::memory_order_relaxed) || !Py_IsInitialized())
    throw DeviceError("the Python interpreter is ending, so that the device's Python code can no longer run");
  state_ = PyGILState_Ensure();
}

void end_python() { ended = true; }
bool python_ended() { return ended.load(std::memory_order_relaxed) || !Py_IsInitialized(); }

void throw_python_error() {
  PyObject *type = nullptr, *value = nullptr, *trace = nullptr;
  PyErr_Fetch(&type, &value, &trace);
  if (type == nullptr) throw DeviceError("Python reported a failure without an exception");
  PyErr_NormalizeException(&type, &value, &trace);
  Ref owned[] = {Ref(type), Ref(value), Ref(trace)};
  const std::string words = described(type, value, trace);
  if (is(type, PyExc_MemoryError)) throw OutOfMemory(words);
  if (is(type, PyExc_NotImplementedError)) throw Unimplemented(words);
  if (is(type, PyExc_ValueError) || is(type, PyExc_TypeError)) throw InvalidArgument(words);
  throw DeviceError(words);
}

void set_describer(PyObject* function) {
  Py_XINCREF(function);
  Py_XDECREF(std::exchange(describer, function));
}

Ref checked(PyObject* object) {
  if (object == nullptr) throw_python_error();
  return Ref(object);
}

Ref attribute(PyObject* object, const char* name) { return checked(PyObject_GetAttrString(object, name)); }

std::string text(PyObject* object) {
  Ref bytes = checked(PyUnicode_AsEncodedString(object, "utf-8", "strict"));
  const char* data = PyBytes_AsString(bytes.get());
  if (data == nullptr) throw_python_error();
  return data;
}

long long integer(PyObject* object) {
  const long long value = PyLong_AsLongLong(object);
  if (value == -1 && PyErr_Occurred()) throw_python_error();
  return value;
}

double real(PyObject* object) {
  const double value = PyFloat_AsDouble(object);
  if (value == -1.0 && PyErr_Occurred()) throw_python_error();
  return value;
}

}  // namespace adapter::bridge
