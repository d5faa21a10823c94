// Points in the work of streams that others can ask about and wait for.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "stream.h"

namespace refchip {

// "Everything given to the stream so far." A marker needs no task of its own: a stream runs its tasks in order, so the
// number of tasks that it has to have completed says the same. Keeps the stream's object alive.
// Waiting on marks inside tasks cannot deadlock: a mark only ever stands for tasks that were submitted before it was
// taken, hence before the task that waits for it, and so waits always point back in time.
class Mark {
 public:
  Mark() = default;
  explicit Mark(std::shared_ptr<Stream> stream) : stream_(std::move(stream)), tasks_(stream_->submitted()) {}

  bool reached() const { return stream_ == nullptr || stream_->reached(tasks_); }
  void wait() const {
    if (stream_ != nullptr) stream_->wait(tasks_);
  }

 private:
  std::shared_ptr<Stream> stream_;
  uint64_t tasks_ = 0;
};

// The mark of the last record; one never recorded counts as reached. Whoever waits holds a copy of the mark, so an
// event may be recorded anew or destroyed at any time.
class Event {
 public:
  void record(const std::shared_ptr<Stream>& stream) {
    Mark mark(stream);
    const std::lock_guard<std::mutex> lock(mutex_);
    std::swap(mark_, mark);
  }
  Mark mark() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return mark_;
  }

 private:
  mutable std::mutex mutex_;
  Mark mark_;
};

}  // namespace refchip
