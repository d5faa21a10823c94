// Peak and sum of a row, with vector instructions and in an order that follows from its length.
#pragma once

#include <limits>

#include "adapter_sdk/host/fold.h"

namespace adapter::kernels {

template <typename C>
struct PeakFold {
  using State = C;
  State start() const { return -std::numeric_limits<C>::infinity(); }
  State step(State peak, C value) const { return value > peak ? value : peak; }
  State merge(State a, State b) const { return step(a, b); }
};

// The largest of n numbers, NaN passed over; -infinity of none.
template <typename C>
C row_max(const C* x, int64_t n) {
  host::Lanes<PeakFold<C>> lanes{PeakFold<C>{}};
  lanes.add(n, [=](int64_t i) { return x[i]; });
  return lanes.result();
}

// Sum of term(i) below n, in lanes.
template <typename Sum, typename Term>
Sum row_sum(int64_t n, Term term) {
  host::Lanes<host::SumFold<Sum>> lanes{host::SumFold<Sum>{}};
  lanes.add(n, term);
  return lanes.result();
}

}  // namespace adapter::kernels
