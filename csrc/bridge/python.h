// The little of CPython that the bridge uses, in its stable ABI: one file serves Python 3.10 and all later ones.
#pragma once

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000
#include <Python.h>

#include <string>
#include <utility>

// Exported by every Python since 3.9, declared for the stable ABI since 3.12.
extern "C" PyObject* PyObject_Vectorcall(PyObject* callable, PyObject* const* arguments, size_t count, PyObject* names);

namespace adapter::bridge {

// The interpreter's lock, taken from any thread, also from one that already has it. Throws DeviceError once Python is
// on its way out.
class Gil {
 public:
  Gil();
  ~Gil() { PyGILState_Release(state_); }
  Gil(const Gil&) = delete;
  Gil& operator=(const Gil&) = delete;

 private:
  PyGILState_STATE state_;
};

// From here on no Python code may run; said by an exit hook of the interpreter.
void end_python();
bool python_ended();

// A reference that is owned. All members need the lock, the destructor too.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* owned) : object_(owned) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { Py_XDECREF(object_); }
  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

// Throws the Python exception in flight as the adapter::Error that becomes the same kind of exception again:
// ValueError, TypeError and their children, MemoryError and NotImplementedError; OSError for all others. Its text is
// the traceback.
[[noreturn]] void throw_python_error();

// Function of Python that makes the text: (type, value, traceback) -> str. Without one the text is str(value).
void set_describer(PyObject* function);

// `object`, or the error in flight.
Ref checked(PyObject* object);
Ref attribute(PyObject* object, const char* name);

// Conversions. They throw when the object is of another type.
std::string text(PyObject* object);
long long integer(PyObject* object);
double real(PyObject* object);

}  // namespace adapter::bridge
