// The type in which a kernel of storage type T holds its sums.
#pragma once

#include <cstdint>
#include <type_traits>

namespace adapter::kernels {

// Floating point sums are held in double (declared as f64), integer sums in int64.
template <typename T>
using Accumulator = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;

}  // namespace adapter::kernels
