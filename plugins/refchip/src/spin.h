// Waiting briefly without going to sleep.
#pragma once

#include <sched.h>

#include <chrono>

namespace refchip {

inline void pause_processor() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether this process may run on several processors, as it was when first asked.
inline bool has_company() noexcept {
  static const bool several = [] {
    cpu_set_t allowed;
    return sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) > 1;
  }();
  return several;
}

// Polls `ready` for about `limit`; false when it did not come true. After the first few microseconds it offers the
// processor to other threads in between: on a busy machine the thread waited for may need this very one. With a single
// processor it polls once only: while it polls, nobody else could make it true.
template <typename Ready>
bool spin_until(Ready ready, std::chrono::microseconds limit) {
  using Clock = std::chrono::steady_clock;
  if (ready()) return true;
  if (!has_company()) return false;
  const Clock::time_point start = Clock::now();
  const Clock::time_point polite = start + std::chrono::microseconds(3);
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
