// The type in which a kernel of storage type T holds its sums.
#pragma once

#include <cstdint>
#include <type_traits>

#include "adapter_sdk/half.h"

namespace adapter::kernels {

// float32 and float64 are summed in double, half types in float (declared as `wide`), integers in int64.
template <typename T>
using Accumulator =
    std::conditional_t<is_half<T>, float, std::conditional_t<std::is_floating_point_v<T>, double, int64_t>>;

}  // namespace adapter::kernels
