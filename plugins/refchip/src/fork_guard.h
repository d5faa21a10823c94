// Keeps a forked child from touching a device whose threads stayed behind in its parent.
#pragma once

#include <atomic>

namespace refchip {

namespace detail {
extern std::atomic<bool> forked;
}

// To be called before the first memory or stream is made. A process that forks before that may use the device in both.
void watch_forks();

// True in a child (or grandchild) of a process that was using the device when it forked.
inline bool in_forked_child() noexcept { return detail::forked.load(std::memory_order_relaxed); }

[[noreturn]] void refuse_forked_child();

// Throws adapter::DeviceError in such a child. Comes before any lock: a lock may have been held during the fork.
inline void require_own_process() {
  if (__builtin_expect(in_forked_child(), 0)) refuse_forked_child();
}

}  // namespace refchip
