// Device addresses: reserved so that host code faults on them, with a private alias through which kernels work.
#pragma once

#include <cstddef>
#include <cstdint>

namespace refchip {

// One memory file mapped twice: without any access right at the device addresses, readable and writable at the alias.
// Hence alias = device address + a constant. Pages are committed when first touched.
class AddressSpace {
 public:
  static constexpr size_t kPage = 4096;

  // The process's only address space, made on first use for the cards of machine(). Throws adapter::DeviceError when
  // the addresses cannot be reserved.
  static AddressSpace& instance();

  // First device address of a card, and how many bytes its addresses span. The span is larger than the card's memory,
  // so that guard zones and fragmentation do not eat into what the card is said to have.
  uintptr_t begin(int card) const { return base_ + static_cast<size_t>(card) * span_; }
  size_t span() const { return span_; }
  // Card whose addresses contain this one, or -1.
  int card_of(const void* address) const;
  // The memory file and where it is mapped readable and writable, for processes that may read each other's memory.
  int file() const { return file_; }
  const void* readable_begin() const;
  size_t bytes() const { return span_ * static_cast<size_t>(cards_); }
  // Returns the whole pages within [address, address + bytes) to the system; they read as zero afterwards.
  void discard(uintptr_t address, size_t bytes);

 private:
  AddressSpace();

  uintptr_t base_ = 0;
  size_t span_ = 0;
  int cards_ = 0;
  int file_ = -1;
};

// See adapter::host::alias. Works before the address space exists: then nothing is device memory.
void* alias(const void* device_address) noexcept;

}  // namespace refchip
