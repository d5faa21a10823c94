// What all collectives of static graphs have in common.
#pragma once

#include "adapter_sdk/kernel.h"
#include "adapter_sdk/ring.h"

// The dtypes that Paddle lists for its collectives.
#define ADAPTER_COLLECTIVE_DTYPES \
  float, double, adapter::float16, adapter::bfloat16, int8_t, uint8_t, int32_t, int64_t, bool

namespace adapter::graph_collectives {

// Paddle's number of a reduction (paddle.distributed.ReduceOp).
inline ReduceOp reduction_of(int32_t number) {
  switch (number) {
    case 0: return ReduceOp::sum;
    case 1: return ReduceOp::maximum;
    case 2: return ReduceOp::minimum;
    case 3: return ReduceOp::product;
    case 4: return ReduceOp::average;
    default: throw InvalidArgument("reduction number " + std::to_string(number) + " is none of Paddle's (0 to 4)");
  }
}

}  // namespace adapter::graph_collectives
