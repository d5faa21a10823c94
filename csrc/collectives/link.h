// The bytes that travel between this rank and one other, whatever carries them.
#pragma once

#include <cstddef>
#include <string>

namespace adapter::collectives {

struct Room {
  std::byte* data;
  size_t bytes;
};

struct Arrived {
  const std::byte* data;
  size_t bytes;
};

// Two streams of bytes, one in each direction; every call returns at once. Streams are cut into messages of a multiple
// of kAlignment bytes, so that neither a room nor what has arrived ever ends within an element.
class Link {
 public:
  static constexpr size_t kAlignment = 64;

  virtual ~Link() = default;

  // Where the next outgoing bytes may be written, in one piece; empty when the other side has to read first.
  virtual Room room() = 0;
  virtual void commit(size_t bytes) = 0;
  // The next incoming bytes, in one piece; empty when nothing has come.
  virtual Arrived arrived() = 0;
  virtual void consume(size_t bytes) = 0;
  // For data that the other side reads where it lies: how many such messages of this rank it has done with, and saying
  // so of one of its own.
  virtual uint64_t read_elsewhere() const { return 0; }
  virtual void done_elsewhere() {}
  // Whether everything committed has left this process.
  virtual bool flushed() { return true; }
  // Why nothing more will come from the other side ("has ended"); empty while it is there.
  virtual std::string gone() = 0;
  // Tells the other side, where it would not learn it otherwise, that nothing more will come from here. What was sent
  // before still arrives.
  virtual void hang_up() {}
  // A socket to be polled while waiting, or -1.
  virtual int descriptor() const { return -1; }
};

}  // namespace adapter::collectives
