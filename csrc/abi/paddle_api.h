// Paddle's functions, looked up in the libphi_core.so of the running process.
#pragma once

#include <string>

#include "abi/paddle_c.h"

namespace adapter::abi {

struct PaddleApi {
#define X(name, result, parameters) result(*name) parameters = nullptr;
  ADAPTER_PD_FUNCTIONS(X)
#undef X
  // Exported C++ members of phi::KernelContext and phi::DenseTensor, reached by mangled name. `this` comes first.
  const void* (*attribute_at)(const void* kernel_context, size_t index) = nullptr;
  const int* (*input_range_at)(const void* kernel_context, size_t index) = nullptr;
  const int* (*output_range_at)(const void* kernel_context, size_t index) = nullptr;
  PD_Tensor* (*input_at)(const void* kernel_context, size_t index) = nullptr;
  PD_Tensor* (*output_at)(void* kernel_context, size_t index) = nullptr;
  void* (*tensor_place)(const void* tensor) = nullptr;
};

inline PaddleApi resolved_api;  // in the header, so that a kernel call reads it without a call

// Valid after resolve_paddle_api() returned an empty string.
inline const PaddleApi& paddle() { return resolved_api; }

// Looks everything up. Returns "" or a sentence that names what is missing.
std::string resolve_paddle_api();

}  // namespace adapter::abi
