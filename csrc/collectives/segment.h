// Memory that the ranks of one host share: a ring of bytes for each pair and direction, a bell for each rank.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "collectives/link.h"

namespace adapter::collectives {

// A memory file without a name: nothing is left behind, however its users end. Its maker's ranks find it through
// /proc/<pid>/fd. Each rank locks one byte of it; the kernel drops the lock when the process ends.
class Segment {
 public:
  // Makes the file for `members` ranks. Throws DeviceError.
  static std::shared_ptr<Segment> make(size_t members, size_t ring_bytes);
  // Opens the file of another process, or of this one. Throws DeviceError saying why it cannot be reached.
  static std::shared_ptr<Segment> open(int64_t process, int descriptor, size_t members, size_t ring_bytes);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  int descriptor() const { return file_; }
  // Takes part as this member, from now on seen as alive.
  void join(size_t member);
  std::unique_ptr<Link> link(size_t member, size_t other, const std::string& other_name);

  // The bell of the joined member. Between prepare_to_sleep() and sleep() the caller looks once more for work.
  uint32_t prepare_to_sleep();
  void stay_awake();
  void sleep(uint32_t ticket, std::chrono::milliseconds limit);

  // Tells every member that the communicator is lost; the first reason stays.
  void fail(const std::string& reason);
  // The reason, or empty.
  std::string failure() const;

 private:
  struct Header;
  struct Member;
  struct Ring;
  class RingLink;

  Segment(int file, size_t members, size_t ring_bytes);
  Member& member(size_t index) const;
  Ring& ring(size_t from, size_t to) const;
  std::byte* ring_data(size_t from, size_t to) const;
  void ring_bell(size_t member);
  bool alive(size_t member) const;

  const int file_;
  const size_t members_, ring_bytes_, total_;
  std::byte* base_ = nullptr;
  size_t self_ = SIZE_MAX;
};

}  // namespace adapter::collectives
