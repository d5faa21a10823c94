// Scalar and IntArray attributes under the static executor, where they may be tensors.
#pragma once

#include "adapter_sdk/tensor.h"

namespace adapter::abi {

// `kernel_context` is a phi::KernelContext. The attribute may be a Scalar, a plain number, or a tensor on host or
// device (then the value is read after the kernel's stream). Throws InvalidArgument when it is none of these.
Scalar scalar_attribute(void* kernel_context, size_t index);

// Likewise for IntArray: an IntArray, a vector of integers, one tensor, or a vector of one-element tensors.
IntArray int_array_attribute(void* kernel_context, size_t index);

}  // namespace adapter::abi
