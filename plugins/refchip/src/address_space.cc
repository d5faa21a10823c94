#include "address_space.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "adapter_sdk/error.h"
#include "fork_guard.h"
#include "machine.h"

namespace refchip {
namespace {

// What alias() needs, outside the object so that one load tells that there is no device memory yet.
std::atomic<uintptr_t> device_begin{0};
std::atomic<size_t> device_bytes{0};
std::atomic<uintptr_t> alias_begin{0};

constexpr size_t kSpanAlignment = size_t{2} << 20;

[[noreturn]] void fail(const char* what, size_t bytes) {
  const int error = errno;
  throw adapter::DeviceError(
      std::string(kDeviceType) + ": " + what + " of " + std::to_string(bytes) +
      " bytes failed: " + std::strerror(error) +
      ". Lower REFCHIP_MEMORY or REFCHIP_CARDS, or raise the limit on virtual memory (ulimit -v)");
}

uintptr_t map(int file, size_t bytes, int protection) {
  void* address = mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (address == MAP_FAILED) fail("reserving addresses", bytes);
  // A forked child shall not scribble into its parent's memory: there the addresses are simply absent.
  if (madvise(address, bytes, MADV_DONTFORK) != 0) fail("keeping a forked child out", bytes);
  return reinterpret_cast<uintptr_t>(address);
}

}  // namespace

AddressSpace& AddressSpace::instance() {
  static AddressSpace& space = *new AddressSpace();  // outlives exit handlers
  return space;
}

AddressSpace::AddressSpace() : cards_(machine().cards) {
  watch_forks();
  const size_t spacious = 2 * machine().memory_bytes + (size_t{64} << 20);
  span_ = (spacious + kSpanAlignment - 1) / kSpanAlignment * kSpanAlignment;
  const size_t total = span_ * static_cast<size_t>(cards_);
  file_ = memfd_create("refchip-memory", MFD_CLOEXEC);
  if (file_ < 0 || ftruncate(file_, static_cast<off_t>(total)) != 0) fail("creating a memory file", total);
  base_ = map(file_, total, PROT_NONE);
  alias_begin.store(map(file_, total, PROT_READ | PROT_WRITE), std::memory_order_relaxed);
  device_begin.store(base_, std::memory_order_relaxed);
  device_bytes.store(total, std::memory_order_release);
}

int AddressSpace::card_of(const void* address) const {
  const uintptr_t offset = reinterpret_cast<uintptr_t>(address) - base_;
  return offset < span_ * static_cast<size_t>(cards_) ? static_cast<int>(offset / span_) : -1;
}

const void* AddressSpace::readable_begin() const {
  return reinterpret_cast<const void*>(refchip::alias_begin.load(std::memory_order_relaxed));
}

void AddressSpace::discard(uintptr_t address, size_t bytes) {
  const uintptr_t first = (address - base_ + kPage - 1) / kPage * kPage;
  const uintptr_t last = (address - base_ + bytes) / kPage * kPage;
  if (first >= last) return;
  int result = 0;
  do {
    result = fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first),
                       static_cast<off_t>(last - first));
  } while (result != 0 && errno == EINTR);
  if (result != 0) fail("returning pages", last - first);
}

void* alias(const void* device_address) noexcept {
  const uintptr_t address = reinterpret_cast<uintptr_t>(device_address);
  const size_t bytes = device_bytes.load(std::memory_order_acquire);
  const uintptr_t offset = address - device_begin.load(std::memory_order_relaxed);
  if (offset >= bytes) return const_cast<void*>(device_address);
  return reinterpret_cast<void*>(alias_begin.load(std::memory_order_relaxed) + offset);
}

}  // namespace refchip
