#include "bridge/arena.h"

#include <cstdint>
#include <iterator>
#include <string>

#include "adapter_sdk/error.h"

namespace adapter::bridge {
namespace {

size_t rounded(size_t bytes) { return (bytes + Arena::kAlignment - 1) / Arena::kAlignment * Arena::kAlignment; }

}  // namespace

Arena::Arena(char* address, size_t bytes) : total_(bytes / kAlignment * kAlignment), free_(total_) {
  if (address == nullptr || total_ == 0)
    throw DeviceError("allocate() gave no memory for a card of " + std::to_string(bytes) + " bytes");
  gaps_.emplace(reinterpret_cast<char*>(rounded(reinterpret_cast<uintptr_t>(address))), total_);
}

// The first gap that is large enough.
void* Arena::allocate(size_t bytes) {
  const size_t held = rounded(bytes ? bytes : 1);
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto gap = gaps_.begin(); gap != gaps_.end(); ++gap) {
    if (gap->second < held) continue;
    const auto [address, size] = *gap;
    gaps_.erase(gap);
    if (size > held) gaps_.emplace(address + held, size - held);
    pieces_.emplace(address, Piece{held, bytes});
    free_ -= held;
    asked_ += bytes;
    return address;
  }
  throw OutOfMemory("no memory for " + std::to_string(bytes) + " bytes: " + std::to_string(free_) + " of " +
                    std::to_string(total_) + " bytes are free, but not in one piece of that size");
}

void Arena::deallocate(void* address) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto piece = pieces_.find(static_cast<char*>(address));
  if (piece == pieces_.end()) throw InvalidArgument("memory is given back that was not handed out, or twice");
  char* first = piece->first;
  size_t size = piece->second.held;
  free_ += size;
  asked_ -= piece->second.asked;
  pieces_.erase(piece);
  auto after = gaps_.lower_bound(first);
  if (after != gaps_.end() && after->first == first + size) {
    size += after->second;
    after = gaps_.erase(after);
  }
  if (after != gaps_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == first) {
      before->second += size;
      return;
    }
  }
  gaps_.emplace(first, size);
}

size_t Arena::free_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return free_;
}

size_t Arena::handed_out() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return asked_;
}

}  // namespace adapter::bridge
