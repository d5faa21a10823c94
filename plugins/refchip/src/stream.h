// An in-order queue of tasks with a worker thread of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "adapter_sdk/host/executor.h"

namespace refchip {

using adapter::host::Task;

// Tasks are counted from 0 as they are given to the stream, and wait in a ring of slots. A producer reserves a
// position, fills its slot and publishes it by the slot's sequence number; the worker frees it by counting the task as
// completed. Slots are written by producers and only read by the worker, and no producer reads what the worker writes
// unless the ring seems full: a processor waits for another's cache line when it reads one, hardly ever when it writes
// one. Several threads may submit at once. Every method throws DeviceError in a forked child.
class Stream {
 public:
  static constexpr uint64_t kSlots = 256;

  Stream(int card, int number);
  ~Stream();  // as close()
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Runs the task after all earlier ones, on the worker thread. Returns at once unless the ring is full.
  void submit(Task&& task);
  // How many tasks have been given to the stream; wait(submitted()) waits for all of them.
  uint64_t submitted() const { return submitted_.load(std::memory_order_acquire); }
  bool reached(uint64_t tasks) const { return completed_.load(std::memory_order_acquire) >= tasks; }
  // Waits until so many tasks have run. Throws DeviceError on the stream's own worker thread, which would never return.
  void wait(uint64_t tasks);
  // The same, giving up at the deadline: false then.
  bool wait_until(uint64_t tasks, std::chrono::steady_clock::time_point deadline);
  // What the first task that failed since the last call has thrown.
  std::optional<std::string> take_error();
  // Finishes all tasks and ends the worker thread; nothing may be submitted afterwards.
  void close();

  int card() const { return card_; }
  const std::string& name() const { return name_; }  // "stream 2 of refchip:0"
  bool on_worker_thread() const;

 private:
  using Deadline = std::optional<std::chrono::steady_clock::time_point>;
  enum class Worker : uint32_t { not_started, awake, asleep };
  // The worker polls the sequence number, so that it lies behind the task, on a cache line which few tasks reach.
  struct alignas(64) Slot {
    alignas(Task) unsigned char task[sizeof(Task)];  // alive from before publication until it has run
    std::atomic<uint64_t> sequence{0};               // position + 1 of the task last published here
  };

  Slot& slot_of(uint64_t position) { return slots_[position % kSlots]; }
  uint64_t reserve();
  bool has_room(uint64_t position);
  void wait_for_room(uint64_t position);
  bool await(uint64_t tasks, const Deadline& deadline);
  void start();
  void wake();

  // On the worker thread.
  void work();
  bool next_is_ready(uint64_t position);
  bool sleep_until_ready(uint64_t position);
  void execute(Task& task);
  void announce_progress();
  void keep_error(std::string message);

  const int card_;
  const std::string name_;
  const std::unique_ptr<Slot[]> slots_;
  // Apart from each other: producers write the first, the worker the second, the third is rarely written at all.
  alignas(64) std::atomic<uint64_t> submitted_{0};
  std::atomic<uint64_t> known_completed_{0};  // what producers last saw of completed_
  alignas(64) std::atomic<uint64_t> completed_{0};
  alignas(64) std::atomic<Worker> worker_{Worker::not_started};
  std::atomic<uint64_t> wake_at_{UINT64_MAX};  // the worker calls waiters when it has completed so many
  std::atomic<bool> closing_{false};

  std::mutex mutex_;  // for sleeping and waking, the thread, and the error
  std::condition_variable work_there_;
  std::condition_variable progress_;
  std::thread thread_;
  std::optional<std::string> error_;
};

}  // namespace refchip
