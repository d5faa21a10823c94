#include "stream.h"

#include <algorithm>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "adapter_sdk/error.h"
#include "barrier.h"
#include "blocked_signals.h"
#include "fork_guard.h"
#include "machine.h"
#include "spin.h"

namespace refchip {
namespace {

// Long enough to bridge the gap between two operators called from Python, so that submitting rarely has to wake.
constexpr std::chrono::microseconds kIdleSpin{60};
constexpr std::chrono::microseconds kWaitSpin{20};

thread_local const Stream* current_stream = nullptr;

std::string what_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

}  // namespace

Stream::Stream(int card, int number)
    : card_(card), name_("stream " + std::to_string(number) + " of " + card_name(card)), slots_(new Slot[kSlots]) {
  watch_forks();
}

Stream::~Stream() { close(); }

void Stream::submit(Task&& task) {
  require_own_process();
  if (__builtin_expect(worker_.load(std::memory_order_relaxed) == Worker::not_started, 0)) start();
  const uint64_t position = reserve();
  Slot& slot = slot_of(position);
  new (slot.task) Task(std::move(task));
  slot.sequence.store(position + 1, std::memory_order_release);
  light_barrier();
  if (__builtin_expect(worker_.load(std::memory_order_relaxed) == Worker::asleep, 0)) wake();
}

// The caller's position: from here until it has published the slot it must neither block nor throw.
uint64_t Stream::reserve() {
  uint64_t position = submitted_.load(std::memory_order_relaxed);
  for (;;) {
    if (!has_room(position)) {
      wait_for_room(position);
      position = submitted_.load(std::memory_order_relaxed);
    } else if (submitted_.compare_exchange_weak(position, position + 1, std::memory_order_release,
                                                std::memory_order_relaxed)) {
      return position;
    }
  }
}

bool Stream::has_room(uint64_t position) {
  if (position < known_completed_.load(std::memory_order_acquire) + kSlots) return true;
  const uint64_t completed = completed_.load(std::memory_order_acquire);
  known_completed_.store(completed, std::memory_order_release);
  return position < completed + kSlots;
}

// Waits for half of the ring rather than one slot: waking a producer for every freed slot would cost more than the
// task.
void Stream::wait_for_room(uint64_t position) {
  if (on_worker_thread())
    throw adapter::DeviceError(name_ + ": a task filled the stream's own queue of " + std::to_string(kSlots) +
                               " tasks; submit from another thread");
  await(position - kSlots / 2, std::nullopt);
}

void Stream::wait(uint64_t tasks) {
  require_own_process();
  if (reached(tasks)) return;
  if (on_worker_thread())
    throw adapter::DeviceError(name_ + ": a task or callback on the stream cannot wait for the stream itself");
  await(tasks, std::nullopt);
}

bool Stream::wait_until(uint64_t tasks, std::chrono::steady_clock::time_point deadline) {
  require_own_process();
  return await(tasks, deadline);
}

bool Stream::await(uint64_t tasks, const Deadline& deadline) {
  if (spin_until([&] { return reached(tasks); }, kWaitSpin)) return true;
  std::unique_lock<std::mutex> lock(mutex_);
  while (!reached(tasks)) {
    wake_at_.store(std::min(wake_at_.load(std::memory_order_relaxed), tasks), std::memory_order_relaxed);
    heavy_barrier();
    if (reached(tasks)) break;
    if (!deadline)
      progress_.wait(lock);
    else if (progress_.wait_until(lock, *deadline) == std::cv_status::timeout)
      return reached(tasks);
  }
  return true;
}

std::optional<std::string> Stream::take_error() {
  require_own_process();
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(error_, std::nullopt);
}

void Stream::close() {
  wait(submitted());
  std::thread finished;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_.store(true, std::memory_order_relaxed);
    finished.swap(thread_);
    work_there_.notify_one();
  }
  if (finished.joinable()) finished.join();
}

bool Stream::on_worker_thread() const { return current_stream == this; }

void Stream::start() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (worker_.load(std::memory_order_relaxed) != Worker::not_started) return;
  try {
    const BlockedSignals inherited_by_the_thread;
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error& error) {
    throw adapter::DeviceError(name_ + ": its worker thread cannot be started: " + error.what());
  }
  worker_.store(Worker::awake, std::memory_order_relaxed);
}

void Stream::wake() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (worker_.load(std::memory_order_relaxed) != Worker::asleep) return;
    worker_.store(Worker::awake, std::memory_order_relaxed);  // so that the next producer need not wake it again
  }
  work_there_.notify_one();
}

void Stream::work() {
  current_stream = this;
  pthread_setname_np(pthread_self(), "refchip-stream");
  for (uint64_t position = 0; next_is_ready(position); ++position) {
    execute(*std::launder(reinterpret_cast<Task*>(slot_of(position).task)));
    completed_.store(position + 1, std::memory_order_release);
    light_barrier();
    if (__builtin_expect(position + 1 >= wake_at_.load(std::memory_order_relaxed), 0)) announce_progress();
  }
}

// False when the stream is closing: then there is no next task.
bool Stream::next_is_ready(uint64_t position) {
  const auto ready = [&] { return slot_of(position).sequence.load(std::memory_order_acquire) == position + 1; };
  return spin_until(ready, kIdleSpin) || sleep_until_ready(position);
}

bool Stream::sleep_until_ready(uint64_t position) {
  const auto ready = [&] { return slot_of(position).sequence.load(std::memory_order_acquire) == position + 1; };
  std::unique_lock<std::mutex> lock(mutex_);
  while (!ready()) {
    worker_.store(Worker::asleep, std::memory_order_relaxed);
    heavy_barrier();
    if (ready()) break;
    if (closing_.load(std::memory_order_relaxed)) return false;
    work_there_.wait(lock);
  }
  worker_.store(Worker::awake, std::memory_order_relaxed);
  return true;
}

void Stream::execute(Task& task) {
  try {
    task();
  } catch (...) {
    keep_error(what_of(std::current_exception()));
  }
  task.~Task();
}

void Stream::announce_progress() {
  const std::lock_guard<std::mutex> lock(mutex_);
  wake_at_.store(UINT64_MAX, std::memory_order_relaxed);
  progress_.notify_all();
}

void Stream::keep_error(std::string message) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!error_) error_ = name_ + ": " + std::move(message);
}

}  // namespace refchip
