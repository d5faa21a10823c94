// A store-load barrier whose cost falls on the side that is about to sleep.
//
// Two threads that each store a flag and then look at the other's (publish work / look for a sleeper, against announce
// sleep / look for work) both need a full barrier between store and load, else both may miss the other. The side that
// runs for every task calls light_barrier(), which costs nothing where the kernel offers membarrier(2); the side that
// is about to block calls heavy_barrier(), which then makes every running thread of the process pass a full barrier.
#pragma once

#include <atomic>

namespace refchip {

namespace detail {
extern const bool has_membarrier;
}

inline void light_barrier() noexcept {
  if (__builtin_expect(detail::has_membarrier, 1))
    std::atomic_signal_fence(std::memory_order_seq_cst);
  else
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

void heavy_barrier() noexcept;

}  // namespace refchip
