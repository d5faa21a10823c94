// Several cores for one kernel, without a result that depends on how many there are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "adapter_sdk/host/executor.h"

namespace adapter::host {

// Elements that are worth handing to another core: waking it costs some ten microseconds.
inline constexpr int64_t kElementGrain = 1 << 15;

// Calls work(begin, end) for [0, grain), [grain, 2 grain), ... up to n, on several cores. The chunks follow from n and
// grain alone, so that a kernel which sums within a chunk, and over chunks in their order, gives the same bits on any
// number of cores. To be called inside launch(); calls may nest, the inner one then runs on its own core.
template <typename Work>
void parallel_for(int64_t n, int64_t grain, Work&& work) {
  if (n <= 0) return;
  if (n <= grain) {
    work(int64_t{0}, n);
    return;
  }
  struct State {
    std::remove_reference_t<Work>* work;
    int64_t n, grain;
  } state{&work, n, grain};
  run_chunks((n + grain - 1) / grain,
             [](void* raw, int64_t index) {
               const State& s = *static_cast<State*>(raw);
               (*s.work)(index* s.grain, std::min((index + 1) * s.grain, s.n));
             },
             &state);
}

// The grain of a loop over rows of so many elements each.
inline int64_t rows_grain(int64_t row_elements) {
  return std::max<int64_t>(1, kElementGrain / std::max<int64_t>(1, row_elements));
}

}  // namespace adapter::host
