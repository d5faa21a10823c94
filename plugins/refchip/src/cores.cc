#include "cores.h"

#include <chrono>

#include "blocked_signals.h"
#include "machine.h"
#include "spin.h"

namespace refchip {
namespace {

// A kernel often follows a kernel; longer than this and the cores belong to others.
constexpr std::chrono::microseconds kIdleSpin{30};

thread_local bool inside_a_run = false;

class Inside {
 public:
  Inside() { inside_a_run = true; }
  ~Inside() { inside_a_run = false; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
};

void run_alone(int64_t count, Cores::Chunk chunk, void* state) {
  for (int64_t i = 0; i < count; ++i) chunk(state, i);
}

}  // namespace

Cores& Cores::shared() {
  static Cores& cores = *new Cores(machine().threads);  // never destroyed: helpers may sleep in it at exit
  return cores;
}

Cores::~Cores() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    jobs_.fetch_add(1, std::memory_order_release);
  }
  job_there_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Cores::Job::take_part() {
  for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
    try {
      chunk(state, i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (i < failed_index) error = std::current_exception(), failed_index = i;
    }
  }
}

void Cores::run(int64_t count, Chunk chunk, void* state) {
  if (count <= 1 || threads_ <= 1 || inside_a_run) return run_alone(count, chunk, state);
  const std::unique_lock running(running_, std::try_to_lock);
  if (!running) return run_alone(count, chunk, state);
  if (helpers_.empty()) start();
  Job job{count, chunk, state, {}, {}, {}};
  {
    const std::lock_guard lock(mutex_);
    job_ = &job;
    jobs_.fetch_add(1, std::memory_order_release);
  }
  job_there_.notify_all();
  {
    const Inside inside;
    job.take_part();
  }
  {
    const std::lock_guard lock(mutex_);
    job_ = nullptr;
  }
  // A helper that is still at it has one chunk left: falling asleep and being woken would often take longer.
  const auto gone = [&] { return helping_.load(std::memory_order_acquire) == 0; };
  if (!spin_until(gone, kIdleSpin)) {
    std::unique_lock lock(mutex_);
    helpers_gone_.wait(lock, gone);
  }
  if (job.error) std::rethrow_exception(job.error);
}

void Cores::start() {
  const BlockedSignals blocked;  // inherited by the threads
  for (int i = 1; i < threads_; ++i) helpers_.emplace_back(&Cores::help, this);
}

void Cores::help() {
  inside_a_run = true;
  for (uint64_t seen = 0;;) {
    spin_until([&] { return jobs_.load(std::memory_order_acquire) != seen; }, kIdleSpin);
    std::unique_lock lock(mutex_);
    job_there_.wait(lock, [&] { return jobs_.load(std::memory_order_relaxed) != seen; });
    if (closing_) return;
    seen = jobs_.load(std::memory_order_relaxed);
    if (job_ == nullptr) continue;  // it was finished without this helper
    Job& job = *job_;
    helping_.fetch_add(1, std::memory_order_relaxed);
    lock.unlock();
    job.take_part();
    lock.lock();
    if (helping_.fetch_sub(1, std::memory_order_release) == 1) helpers_gone_.notify_one();
  }
}

}  // namespace refchip
