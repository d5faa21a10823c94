// Host kernels on a device whose memory is the host's: a task runs where it is submitted.
#include "adapter_sdk/host/executor.h"

namespace adapter::host {

void* alias(const void* device_address) noexcept { return const_cast<void*>(device_address); }

void submit(StreamHandle /*stream*/, Task task) { task(); }

void run_chunks(int64_t count, void (*chunk)(void* state, int64_t index), void* state) {
  for (int64_t i = 0; i < count; ++i) chunk(state, i);
}

}  // namespace adapter::host
