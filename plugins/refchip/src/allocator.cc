#include "allocator.h"

#include <array>
#include <cstdio>
#include <cstring>

#include "adapter_sdk/error.h"
#include "address_space.h"
#include "machine.h"

namespace refchip {
namespace {

constexpr size_t round_up(size_t bytes) {
  return (bytes + Allocator::kAlignment - 1) / Allocator::kAlignment * Allocator::kAlignment;
}

// Differs from byte to byte, so that data copied from beside it, zeros and poison are all told apart from it.
using Pattern = std::array<unsigned char, Allocator::kGuard + Allocator::kAlignment>;
constexpr Pattern make_pattern() {
  Pattern pattern{};
  for (size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<unsigned char>(0xA5 ^ (i * 37));
  return pattern;
}
constexpr Pattern kPattern = make_pattern();

unsigned char* host(uintptr_t address) { return static_cast<unsigned char*>(alias(reinterpret_cast<void*>(address))); }

std::string hex(uintptr_t address) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%zx", static_cast<size_t>(address));
  return text;
}

}  // namespace

Allocator::Allocator(int card, size_t capacity) : card_(card), capacity_(capacity) {
  const AddressSpace& space = AddressSpace::instance();
  insert_free(blocks_.emplace(space.begin(card), Block{space.span(), 0}).first);
}

void* Allocator::allocate(size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (bytes > capacity_ || round_up(bytes) > capacity_ - counted_) refuse_allocation(bytes);
  const size_t size = kGuard + round_up(bytes + kGuard);
  const auto fit = free_blocks_.lower_bound({size, 0});
  if (fit == free_blocks_.end()) refuse_allocation(bytes);
  const auto block = blocks_.find(fit->second);
  erase_free(block);
  if (block->second.size > size)
    insert_free(blocks_.emplace(block->first + size, Block{block->second.size - size, 0}).first);
  block->second = Block{size, bytes};
  counted_ += round_up(bytes);
  statistics_.allocated += bytes;
  statistics_.peak = std::max(statistics_.peak, statistics_.allocated);
  ++statistics_.live;
  write_guards(block);
  return reinterpret_cast<void*>(user_address(block));
}

void Allocator::release(void* address) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto start = reinterpret_cast<uintptr_t>(address);
  auto block = blocks_.find(start - kGuard);
  if (block == blocks_.end() || block->second.user == 0) refuse_release(start);
  check_guards_of(block);
  counted_ -= round_up(block->second.user);
  statistics_.allocated -= block->second.user;
  --statistics_.live;
  const uintptr_t begin = block->first;
  const size_t size = block->second.size;
  block->second.user = 0;
  if (const auto next = std::next(block); next != blocks_.end() && next->second.user == 0) {
    erase_free(next);
    block->second.size += next->second.size;
    blocks_.erase(next);
  }
  if (block != blocks_.begin() && std::prev(block)->second.user == 0) {
    const auto previous = std::prev(block);
    erase_free(previous);
    previous->second.size += block->second.size;
    blocks_.erase(block);
    block = previous;
  }
  insert_free(block);
  if (size >= kDiscardBytes) AddressSpace::instance().discard(begin, size);
}

void Allocator::require_range(const void* address, size_t bytes, const char* role) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto first = reinterpret_cast<uintptr_t>(address);
  const auto block = live_block_around(first);
  const std::string copy =
      std::string("the ") + role + " of a copy, " + std::to_string(bytes) + " bytes at " + hex(first);
  if (block == blocks_.end())
    throw adapter::DeviceError(copy + ", does not lie in memory allocated on " + card_name(card_) +
                               (AddressSpace::instance().card_of(address) < 0
                                    ? ": it is no device address"
                                    : "; was it freed, or is it another card's?"));
  const size_t offset = first - user_address(block);
  if (bytes > block->second.user - offset)
    throw adapter::DeviceError(copy + ", leaves its allocation of " + std::to_string(block->second.user) +
                               " bytes on " + card_name(card_) + ": it starts at offset " + std::to_string(offset));
}

void Allocator::check_guards() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto block = blocks_.cbegin(); block != blocks_.cend(); ++block)
    if (block->second.user != 0) check_guards_of(block);
}

std::optional<std::string> Allocator::take_error() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(error_, std::nullopt);
}

Allocator::Statistics Allocator::statistics() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  Statistics result = statistics_;
  result.total = capacity_;
  result.free = capacity_ - counted_;
  return result;
}

// The live block whose user bytes contain the address, or the end.
Allocator::Blocks::const_iterator Allocator::live_block_around(uintptr_t address) const {
  auto block = blocks_.upper_bound(address);
  if (block == blocks_.begin()) return blocks_.end();
  --block;
  const uintptr_t offset = address - user_address(block);  // wraps round for the guard in front
  return offset < block->second.user ? block : blocks_.end();
}

void Allocator::refuse_release(uintptr_t address) const {
  const int owner = AddressSpace::instance().card_of(reinterpret_cast<void*>(address));
  std::string why = "it was freed before, or never allocated";
  if (const auto block = live_block_around(address); block != blocks_.end())
    why = "it lies " + std::to_string(address - user_address(block)) + " bytes inside an allocation of " +
          std::to_string(block->second.user) + " bytes";
  if (owner < 0) why = "it is no device address";
  if (owner >= 0 && owner != card_) why = "it belongs to " + card_name(owner);
  throw adapter::DeviceError("cannot free " + hex(address) + " on " + card_name(card_) + ": " + why);
}

void Allocator::refuse_allocation(size_t bytes) const {
  const size_t free = capacity_ - counted_;
  throw adapter::OutOfMemory("out of memory on " + card_name(card_) + ": requested " + std::to_string(bytes) +
                             " bytes, free " + std::to_string(free) + " of " + std::to_string(capacity_) + " bytes" +
                             (bytes <= free ? " (but in pieces too small)" : "") +
                             ". Free tensors, or raise REFCHIP_MEMORY");
}

void Allocator::write_guards(Blocks::const_iterator block) const {
  const uintptr_t user_end = user_address(block) + block->second.user;
  std::memcpy(host(block->first), kPattern.data(), kGuard);
  std::memcpy(host(user_end), kPattern.data(), block->first + block->second.size - user_end);
}

void Allocator::check_guards_of(Blocks::const_iterator block) {
  const uintptr_t user_end = user_address(block) + block->second.user;
  check_guard(block, block->first, kGuard, "before");
  check_guard(block, user_end, block->first + block->second.size - user_end, "behind");
}

void Allocator::check_guard(Blocks::const_iterator block, uintptr_t begin, size_t bytes, const char* side) {
  unsigned char* guard = host(begin);
  if (std::memcmp(guard, kPattern.data(), bytes) == 0) return;
  size_t first = 0;
  while (guard[first] == kPattern[first]) ++first;
  size_t damaged = 0;
  for (size_t i = first; i < bytes; ++i) damaged += guard[i] != kPattern[i];
  if (!error_) {
    const auto offset = static_cast<ptrdiff_t>(begin + first) - static_cast<ptrdiff_t>(user_address(block));
    error_ = "memory was overwritten " + std::string(side) + " an allocation of " + std::to_string(block->second.user) +
             " bytes on " + card_name(card_) + ": " + std::to_string(damaged) + " guard byte(s) from offset " +
             std::to_string(offset) + " (address " + hex(begin + first) + "). A kernel wrote outside its output";
  }
  std::memcpy(guard, kPattern.data(), bytes);  // mended, so that one write is reported once
}

void Allocator::insert_free(Blocks::iterator block) { free_blocks_.emplace(block->second.size, block->first); }
void Allocator::erase_free(Blocks::iterator block) { free_blocks_.erase({block->second.size, block->first}); }

}  // namespace refchip
