// Reduction of the same elements of several ranks, in the order of the ranks.
#pragma once

#include <cstddef>

#include "adapter_sdk/collectives.h"

namespace adapter::collectives {

// out[i] = sources[0][i] op sources[1][i] op ..., for `count` elements; average divides by the number of sources, for
// integers as C++ does. Half types are held in float32 and rounded once. bool: sum and maximum are "or", product and
// minimum "and". A NaN in a maximum or minimum stays a NaN. `out` may be one of the sources.
// Throws InvalidArgument for a dtype or reduction that is none.
void fold(DType dtype, ReduceOp op, const void* const* sources, size_t n_sources, void* out, size_t count);

// Throws InvalidArgument unless fold() knows both.
void require_reducible(DType dtype, ReduceOp op);

}  // namespace adapter::collectives
