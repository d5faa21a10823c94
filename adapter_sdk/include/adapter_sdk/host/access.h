// How a kernel that runs on host cores reaches device memory and its stream.
#pragma once

#include <utility>

#include "adapter_sdk/context.h"
#include "adapter_sdk/host/executor.h"

namespace adapter::host {

// Elements of an input, usable inside launch().
template <typename T>
const T* in(const Tensor& tensor) {
  return static_cast<const T*>(alias(tensor.data));
}

// Allocates an output and returns its elements, usable inside launch(). An in-place call returns the input's storage.
template <typename T>
T* out(Context& ctx, Output& output) {
  return static_cast<T*>(alias(ctx.alloc<T>(output)));
}

// The same for a dtype known at run time only.
inline void* out(Context& ctx, Output& output, DType dtype) { return alias(ctx.alloc(output, dtype)); }

// Runs `work` on the kernel's stream, after what is already there. It runs later: capture by value, never by reference.
template <typename Work>
void launch(Context& ctx, Work&& work) {
  submit(ctx.stream(), Task(std::forward<Work>(work)));
}

}  // namespace adapter::host
