#include "bridge/python_device.h"

#include <algorithm>
#include <cstdarg>
#include <string>

namespace adapter::bridge {
namespace {

PyObject* taken(PyObject* record, const char* name) { return attribute(record, name).release(); }

// A stream is the Python object that create() returned; Paddle's handle is its address, with one reference.
PyObject* object_of(StreamHandle stream) { return static_cast<PyObject*>(stream); }

// What record() returned last; None before.
struct Event {
  PyObject* mark = nullptr;
};

Event* event_of(EventHandle event) { return static_cast<Event*>(event); }

// A callback of Paddle's as a Python function without arguments.
constexpr const char* kCallback = "adapter_sdk.callback";

void drop_callback(PyObject* capsule) {
  delete static_cast<std::function<void()>*>(PyCapsule_GetPointer(capsule, kCallback));
}

PyObject* run_callback(PyObject* capsule, PyObject*) {
  auto* work = static_cast<std::function<void()>*>(PyCapsule_GetPointer(capsule, kCallback));
  if (work == nullptr) return nullptr;
  try {
    (*work)();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    return nullptr;
  }
  Py_RETURN_NONE;
}

PyMethodDef callback_method = {"callback", run_callback, METH_NOARGS, nullptr};

}  // namespace

PythonDevice::PythonDevice(PyObject* memory, PyObject* streams, std::vector<size_t> memory_bytes,
                           const ArrayMaker& arrays)
    : arrays_(arrays), synchronous_(streams == Py_None), copy_(taken(memory, "copy")), fill_(taken(memory, "fill")) {
  Ref allocate = attribute(memory, "allocate");
  for (size_t card = 0; card < memory_bytes.size(); ++card) {
    const size_t asked = memory_bytes[card] + Arena::kAlignment;
    Ref address =
        checked(PyObject_CallFunction(allocate.get(), "in", static_cast<int>(card), static_cast<Py_ssize_t>(asked)));
    arenas_.push_back(std::make_unique<Arena>(reinterpret_cast<char*>(integer(address.get())), memory_bytes[card]));
  }
  if (synchronous_) return;
  create_ = taken(streams, "create");
  destroy_ = taken(streams, "destroy");
  synchronize_ = taken(streams, "synchronize");
  done_ = taken(streams, "done");
  record_ = taken(streams, "record");
  wait_ = taken(streams, "wait");
  event_done_ = taken(streams, "event_done");
  synchronize_event_ = taken(streams, "synchronize_event");
  call_ = taken(streams, "call");
}

Arena& PythonDevice::arena(int card) {
  if (card < 0 || card >= card_count())
    throw InvalidArgument("card " + std::to_string(card) + " does not exist; there are " +
                          std::to_string(card_count()));
  return *arenas_[static_cast<size_t>(card)];
}

Ref PythonDevice::call(PyObject* function, const char* format, ...) {
  va_list values;
  va_start(values, format);
  Ref arguments(Py_VaBuildValue(format, values));
  va_end(values);
  if (!arguments) throw_python_error();
  return checked(PyObject_CallObject(function, arguments.get()));
}

void PythonDevice::deallocate(int card, void* address, size_t /*bytes*/) {
  // Work that is pending may still use it.
  if (!synchronous_) synchronize(card);
  arena(card).deallocate(address);
}

// ---- copies
// -----------------------------------------------------------------------------------------------------------

void PythonDevice::copy(int card, CopyKind kind, void* dst, const void* src, size_t bytes) {
  synchronize(card);
  Gil gil;
  Ref to = arrays_.bytes(dst, bytes, true), from = arrays_.bytes(const_cast<void*>(src), bytes, false);
  call(copy_, "(iiOO)", card, static_cast<int>(kind), to.get(), from.get());
}

void PythonDevice::copy_peer(int dst_card, int src_card, void* dst, const void* src, size_t bytes) {
  synchronize(src_card);
  copy(dst_card, CopyKind::device_to_device, dst, src, bytes);
}

void PythonDevice::fill(int card, void* address, uint8_t value, size_t bytes) {
  synchronize(card);
  Gil gil;
  Ref to = arrays_.bytes(address, bytes, true);
  call(fill_, "(iOi)", card, to.get(), static_cast<int>(value));
}

void PythonDevice::copy_async(int card, StreamHandle stream, CopyKind kind, void* dst, const void* src, size_t bytes) {
  synchronize_stream(card, stream);
  copy(card, kind, dst, src, bytes);
}

void PythonDevice::copy_peer_async(int dst_card, int src_card, StreamHandle stream, void* dst, const void* src,
                                   size_t bytes) {
  synchronize_stream(dst_card, stream);
  copy_peer(dst_card, src_card, dst, src, bytes);
}

// ---- streams
// ---------------------------------------------------------------------------------------------------------- A
// synchronous device has nothing to wait for, and never enters Python here.

StreamHandle PythonDevice::create_stream(int card) {
  if (synchronous_) return new char;
  Gil gil;
  Ref stream = call(create_, "(i)", card);
  std::lock_guard<std::mutex> lock(streams_mutex_);
  streams_.emplace_back(card, stream.get());
  return stream.release();
}

void PythonDevice::destroy_stream(int card, StreamHandle stream) {
  if (synchronous_) {
    delete static_cast<char*>(stream);
    return;
  }
  if (python_ended()) return;
  {
    std::lock_guard<std::mutex> lock(streams_mutex_);
    streams_.erase(std::remove(streams_.begin(), streams_.end(), std::make_pair(card, object_of(stream))),
                   streams_.end());
  }
  Gil gil;
  Ref owned(object_of(stream));
  call(destroy_, "(iO)", card, owned.get());
}

bool PythonDevice::stream_done(int card, StreamHandle stream) {
  if (synchronous_ || python_ended()) return true;
  Gil gil;
  Ref answer = call(done_, "(iO)", card, object_of(stream));
  return PyObject_IsTrue(answer.get()) == 1;
}

void PythonDevice::synchronize_stream(int card, StreamHandle stream) {
  if (synchronous_ || python_ended()) return;
  Gil gil;
  call(synchronize_, "(iO)", card, object_of(stream));
}

void PythonDevice::synchronize(int card) {
  if (synchronous_ || python_ended()) return;
  Gil gil;
  std::vector<Ref> living;
  {
    std::lock_guard<std::mutex> lock(streams_mutex_);
    for (const auto& [owner, stream] : streams_) {
      if (owner != card) continue;
      Py_INCREF(stream);
      living.emplace_back(stream);
    }
  }
  for (const Ref& stream : living) call(synchronize_, "(iO)", card, stream.get());
}

void PythonDevice::add_callback(int card, StreamHandle stream, std::function<void()> callback) {
  if (synchronous_) {
    callback();
    return;
  }
  Gil gil;
  auto* work = new std::function<void()>(std::move(callback));
  Ref capsule(PyCapsule_New(work, kCallback, drop_callback));
  if (!capsule) {
    delete work;
    throw_python_error();
  }
  Ref function = checked(PyCFunction_NewEx(&callback_method, capsule.get(), nullptr));
  call(call_, "(iOO)", card, object_of(stream), function.get());
}

// ---- events
// -----------------------------------------------------------------------------------------------------------

EventHandle PythonDevice::create_event(int /*card*/) { return new Event; }

void PythonDevice::destroy_event(int /*card*/, EventHandle event) {
  std::unique_ptr<Event> owned(event_of(event));
  if (owned->mark == nullptr || python_ended()) return;
  Gil gil;
  Py_DECREF(owned->mark);
}

void PythonDevice::record_event(int card, StreamHandle stream, EventHandle event) {
  if (synchronous_) return;
  Gil gil;
  Ref mark = call(record_, "(iO)", card, object_of(stream));
  Py_XDECREF(std::exchange(event_of(event)->mark, mark.release()));
}

bool PythonDevice::event_done(int /*card*/, EventHandle event) {
  if (event_of(event)->mark == nullptr || python_ended()) return true;
  Gil gil;
  Ref answer = call(event_done_, "(O)", event_of(event)->mark);
  return PyObject_IsTrue(answer.get()) == 1;
}

void PythonDevice::synchronize_event(int /*card*/, EventHandle event) {
  if (event_of(event)->mark == nullptr || python_ended()) return;
  Gil gil;
  call(synchronize_event_, "(O)", event_of(event)->mark);
}

void PythonDevice::wait_event(int card, StreamHandle stream, EventHandle event) {
  if (event_of(event)->mark == nullptr || python_ended()) return;
  Gil gil;
  call(wait_, "(iOO)", card, object_of(stream), event_of(event)->mark);
}

}  // namespace adapter::bridge
