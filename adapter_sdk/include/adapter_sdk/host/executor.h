// The bridge between kernels that run on the host's processor and the software device whose streams carry them.
// A device that wants to use the SDK's host kernels defines the functions below; they are resolved at link time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include "adapter_sdk/context.h"

namespace adapter::host {

// A move-only `void()` callable. Up to kInlineBytes of captured state lie inside the object, so that giving a kernel to
// a stream allocates nothing; larger (or over-aligned, or throwing on move) callables are kept on the heap.
class Task {
 public:
  static constexpr size_t kInlineBytes = 512;

  Task() noexcept {}  // not defaulted: `Task()` would clear the storage
  template <typename F, typename = std::enable_if_t<!std::is_same_v<std::decay_t<F>, Task> &&
                                                    std::is_invocable_r_v<void, std::decay_t<F>&>>>
  Task(F&& function) {  // NOLINT(google-explicit-constructor): a lambda is passed where a task is asked for
    using Function = std::decay_t<F>;
    if constexpr (fits_inline<Function>) {
      new (storage_) Function(std::forward<F>(function));
      operations_ = &Inline<Function>::operations;
    } else {
      new (storage_) Function*(new Function(std::forward<F>(function)));
      operations_ = &Heap<Function>::operations;
    }
  }
  Task(Task&& other) noexcept { take(other); }
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() { reset(); }

  explicit operator bool() const noexcept { return operations_ != nullptr; }
  // The task must not be empty. It stays callable afterwards.
  void operator()() { operations_->invoke(storage_); }
  // Destroys the callable; the task is empty afterwards.
  void reset() noexcept {
    if (operations_ == nullptr) return;
    if (operations_->destroy != nullptr) operations_->destroy(storage_);
    operations_ = nullptr;
  }

  template <typename Function>
  static constexpr bool fits_inline =
      sizeof(Function) <= kInlineBytes && alignof(Function) <= alignof(std::max_align_t) &&
      std::is_nothrow_move_constructible_v<Function>;

 private:
  struct Operations {
    void (*invoke)(void* storage);
    void (*relocate)(void* to, void* from) noexcept;
    void (*destroy)(void* storage) noexcept;  // NULL when there is nothing to destroy
  };

  template <typename Function>
  struct Inline {
    static Function& at(void* storage) { return *std::launder(static_cast<Function*>(storage)); }
    static void invoke(void* storage) { at(storage)(); }
    static void relocate(void* to, void* from) noexcept {
      new (to) Function(std::move(at(from)));
      at(from).~Function();
    }
    static void destroy(void* storage) noexcept { at(storage).~Function(); }
    static constexpr Operations operations{invoke, relocate,
                                           std::is_trivially_destructible_v<Function> ? nullptr : destroy};
  };

  template <typename Function>
  struct Heap {
    static Function*& at(void* storage) { return *std::launder(static_cast<Function**>(storage)); }
    static void invoke(void* storage) { (*at(storage))(); }
    static void relocate(void* to, void* from) noexcept { new (to) Function*(at(from)); }
    static void destroy(void* storage) noexcept { delete at(storage); }
    static constexpr Operations operations{invoke, relocate, destroy};
  };

  void take(Task& other) noexcept {
    operations_ = other.operations_;
    if (operations_ == nullptr) return;
    operations_->relocate(storage_, other.storage_);
    other.operations_ = nullptr;
  }

  const Operations* operations_ = nullptr;
  alignas(std::max_align_t) unsigned char storage_[kInlineBytes];
};

// The address at which host code may touch the memory behind `device_address`. An address that is not device memory is
// returned unchanged. Valid from any thread; the memory's content is only meaningful in stream order.
void* alias(const void* device_address) noexcept;

// Runs the task on the stream, after everything already given to it. Returns at once unless the stream's queue is full.
// An exception out of the task is kept and rethrown as DeviceError by the next synchronisation of the stream.
// Throws DeviceError in a process that was forked from one already using the device.
void submit(StreamHandle stream, Task task);

// Calls chunk(state, i) once for every i below `count`, on any of the device's threads and in any order, and returns
// when all are done. To be called inside a task. The first exception (by i) is rethrown once the others have ended.
// Kernels use parallel_for (adapter_sdk/host/parallel.h).
void run_chunks(int64_t count, void (*chunk)(void* state, int64_t index), void* state);

}  // namespace adapter::host
