// Views of the events that Paddle's profiler takes: phi::RuntimeTraceEvent and phi::DeviceTraceEvent, whose C functions
// are declared with void*. The same in 3.0.0 to 3.3.1, see tests/abi/test_trace_event.py.
#pragma once

#include <cstdint>
#include <string>

namespace adapter::abi {

// phi::TracerEventType
enum class TraceKind : int32_t { runtime = 3, kernel = 4, copy = 5, fill = 6 };

struct PaddleRuntimeEvent {
  std::string name;
  TraceKind kind = TraceKind::runtime;
  uint64_t start_ns = 0;  // since 1970, as clock_gettime(CLOCK_REALTIME)
  uint64_t end_ns = 0;
  uint64_t process = 0;
  uint64_t thread = 0;       // the system's number
  uint32_t correlation = 0;  // of the device events that the call gave rise to
  uint32_t callback = 0;
};

struct PaddleKernelInfo {
  uint32_t launch[11] = {};  // block and grid, memory, registers: CUDA's words
  uint64_t queued = 0;
  uint64_t submitted = 0;
  uint64_t completed = 0;
  float occupancy[3] = {};
};

struct PaddleCopyInfo {
  uint64_t bytes = 0;
  char kind[50] = {};
  char source[50] = {};
  char target[50] = {};
};

struct PaddleDeviceEvent {
  std::string name;
  TraceKind kind = TraceKind::kernel;
  uint64_t start_ns = 0;
  uint64_t end_ns = 0;
  uint64_t device = 0;
  uint64_t context = 0;
  uint64_t stream = 0;
  uint32_t correlation = 0;
  union {
    PaddleKernelInfo kernel;
    PaddleCopyInfo copy;
  };
  PaddleDeviceEvent() : copy() {}
};

}  // namespace adapter::abi
