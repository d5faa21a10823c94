// Reading device memory from a kernel's host side.
#pragma once

#include <cstddef>

namespace adapter::abi {

// Copies `bytes` from the device address `source` to `host` after everything on the stream of `device_context`
// (a PD_DeviceContext). Blocks.
void read_after_stream(const void* device_context, void* host, const void* source, size_t bytes);

}  // namespace adapter::abi
