// Waiting briefly without going to sleep.
#pragma once

#include <sched.h>

#include <chrono>
#include <thread>

namespace refchip {

inline void pause_processor() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Polls `ready` for about `limit`; false when it did not come true. After the first few microseconds every poll lets
// other threads have the processor. With a single processor it polls once only: nobody else could make it true.
template <typename Ready>
bool spin_until(Ready ready, std::chrono::microseconds limit) {
  using Clock = std::chrono::steady_clock;
  static const bool alone = std::thread::hardware_concurrency() < 2;
  if (ready()) return true;
  if (alone) return false;
  const Clock::time_point start = Clock::now();
  const Clock::time_point polite = start + std::chrono::microseconds(10);
  for (Clock::time_point now = start; now < start + limit; now = Clock::now()) {
    for (int i = 0; i < 8; ++i) {
      pause_processor();
      if (ready()) return true;
    }
    if (now >= polite) sched_yield();
  }
  return ready();
}

}  // namespace refchip
