// Hands out pieces of one region of device memory.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

namespace adapter::bridge {

// Python is asked once for a card's whole memory; the pieces that Paddle asks for are cut here. Paddle asks under locks
// that a thread with the interpreter's lock may be waiting for, so no Python code may run at that moment.
class Arena {
 public:
  static constexpr size_t kAlignment = 256;  // bytes

  // `bytes` usable ones; the region behind `address` has kAlignment bytes more, so that the first piece can be aligned.
  Arena(char* address, size_t bytes);

  // Throws OutOfMemory.
  void* allocate(size_t bytes);
  // Throws InvalidArgument for an address that was not handed out.
  void deallocate(void* address);

  size_t total() const { return total_; }
  size_t free_bytes() const;
  size_t handed_out() const;  // without rounding

 private:
  struct Piece {
    size_t held;
    size_t asked;
  };
  mutable std::mutex mutex_;
  std::map<char*, size_t> gaps_;  // by address, never two that touch
  std::map<char*, Piece> pieces_;
  size_t total_ = 0, free_ = 0, asked_ = 0;
};

}  // namespace adapter::bridge
