// What the SDK's host kernels are linked against; see adapter_sdk/host/executor.h.
#include "adapter_sdk/host/executor.h"

#include "adapter_sdk/error.h"
#include "address_space.h"
#include "cores.h"
#include "stream.h"

namespace adapter::host {

void* alias(const void* device_address) noexcept { return refchip::alias(device_address); }

void submit(StreamHandle stream, Task task) {
  if (stream == nullptr) throw InvalidArgument("refchip: a task was submitted to a NULL stream");
  static_cast<refchip::Stream*>(stream)->submit(std::move(task));
}

void run_chunks(int64_t count, void (*chunk)(void* state, int64_t index), void* state) {
  refchip::Cores::shared().run(count, chunk, state);
}

}  // namespace adapter::host
