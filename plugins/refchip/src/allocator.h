// The memory of one card: a best-fit allocator with guard zones around every allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace refchip {

// Thread safe. A block in the card's address range holds [guard | user bytes | guard]; neighbouring free blocks are
// merged. What counts against the card's memory are the user bytes rounded up to kAlignment, not the guards.
class Allocator {
 public:
  static constexpr size_t kAlignment = 256;
  static constexpr size_t kGuard = 256;                       // bytes before, and at least as many behind
  static constexpr size_t kDiscardBytes = size_t{256} << 10;  // blocks of this size give their pages back when freed

  struct Statistics {
    size_t total = 0;      // bytes of the card
    size_t free = 0;       // total, less what live allocations count
    size_t allocated = 0;  // user bytes of live allocations
    size_t peak = 0;       // highest value that `allocated` has had
    size_t live = 0;       // live allocations
  };

  Allocator(int card, size_t capacity);

  // Device address of at least `bytes` bytes, aligned to kAlignment. Throws adapter::OutOfMemory.
  void* allocate(size_t bytes);
  // Throws adapter::DeviceError, naming the cause, when `address` is not the start of a live allocation of this card.
  // Damaged guards are recorded for take_error().
  void release(void* address);
  // Throws adapter::DeviceError unless [address, address + bytes) lies within one live allocation.
  void require_range(const void* address, size_t bytes, const char* role) const;
  // Looks at the guards of all live allocations and records damage. No work may be pending on the card.
  void check_guards();
  // The first damage recorded since the last call.
  std::optional<std::string> take_error();
  Statistics statistics() const;

 private:
  struct Block {
    size_t size = 0;
    size_t user = 0;  // 0 for a free block
  };
  using Blocks = std::map<uintptr_t, Block>;  // by address

  static uintptr_t user_address(Blocks::const_iterator block) { return block->first + kGuard; }
  Blocks::const_iterator live_block_around(uintptr_t address) const;
  [[noreturn]] void refuse_release(uintptr_t address) const;
  [[noreturn]] void refuse_allocation(size_t bytes) const;
  void write_guards(Blocks::const_iterator block) const;
  void check_guards_of(Blocks::const_iterator block);
  void check_guard(Blocks::const_iterator block, uintptr_t begin, size_t bytes, const char* side);
  void insert_free(Blocks::iterator block);
  void erase_free(Blocks::iterator block);

  const int card_;
  const size_t capacity_;
  mutable std::mutex mutex_;
  Blocks blocks_;
  std::set<std::pair<size_t, uintptr_t>> free_blocks_;  // by size, then address
  size_t counted_ = 0;
  Statistics statistics_;
  std::optional<std::string> error_;
};

}  // namespace refchip
