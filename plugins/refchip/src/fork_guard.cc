#include "fork_guard.h"

#include <pthread.h>

#include <string>

#include "adapter_sdk/error.h"
#include "machine.h"

namespace refchip {

namespace detail {
std::atomic<bool> forked{false};
}

namespace {

void mark_child() { detail::forked.store(true, std::memory_order_relaxed); }

bool install() {
  if (pthread_atfork(nullptr, nullptr, mark_child) != 0)
    throw adapter::DeviceError(std::string(kDeviceType) + ": no memory to register a fork handler");
  return true;
}

}  // namespace

void watch_forks() {
  static const bool installed = install();
  static_cast<void>(installed);
}

void refuse_forked_child() {
  throw adapter::DeviceError(
      std::string(kDeviceType) +
      " cannot be used here: this process was forked from one that was already using the device, "
      "and device threads and memory do not survive a fork. Start the process with the \"spawn\" "
      "method, or fork before the first use of the device");
}

}  // namespace refchip
