// The processor cores that one kernel may use together.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace refchip {

// Helper threads that join the calling thread for the length of one run(). One run at a time is helped; another stream
// that comes meanwhile, or a run inside a run, does its chunks alone. Results must not depend on who did what.
class Cores {
 public:
  using Chunk = void (*)(void* state, int64_t index);

  // The calling thread counts: `threads` - 1 helpers are started, at the first run.
  explicit Cores(int threads) : threads_(threads) {}
  ~Cores();
  Cores(const Cores&) = delete;
  Cores& operator=(const Cores&) = delete;

  // Calls chunk(state, i) for every i below count. Rethrows the exception of the lowest i, when all have ended.
  void run(int64_t count, Chunk chunk, void* state);

  // Those of this process: as many threads as REFCHIP_THREADS says, or as the process may run on processors.
  static Cores& shared();

 private:
  struct Job {
    int64_t count;
    Chunk chunk;
    void* state;
    std::atomic<int64_t> next{0};
    std::mutex mutex;  // of the error
    std::exception_ptr error;
    int64_t failed_index = INT64_MAX;

    void take_part();
  };

  void start();
  void help();

  const int threads_;
  std::mutex running_;  // held for the length of a run that is helped
  std::mutex mutex_;    // of what follows
  std::condition_variable job_there_, helpers_gone_;
  Job* job_ = nullptr;
  std::atomic<uint64_t> jobs_{0};  // posted so far
  std::atomic<int> helping_{0};    // written under the mutex, so that a waiter misses no change
  bool closing_ = false;
  std::vector<std::thread> helpers_;
};

}  // namespace refchip
