// This rank's links to all others of a communicator, and how it waits for them.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "collectives/link.h"
#include "collectives/options.h"
#include "collectives/segment.h"

namespace adapter::collectives {

struct UniqueId {
  static constexpr size_t kBytes = 128;
  std::byte bytes[kBytes];
};

// Opens a meeting point in this process for the ranks that are given the id. Throws DeviceError.
UniqueId make_unique_id(const Options& options);

// The memory of another process, readable.
class PeerMemory {
 public:
  PeerMemory(int64_t process, int file, size_t bytes);  // throws DeviceError
  ~PeerMemory();
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;
  const std::byte* at(size_t offset, size_t size) const;  // throws DeviceError when that is outside

 private:
  const std::byte* base_;
  const size_t bytes_;
};

struct Mesh {
  size_t rank = 0, ranks = 1;
  std::vector<std::unique_ptr<Link>> links;        // by rank; NULL for this one
  std::vector<std::string> names;                  // "rank 1 (process 4242 on host n7)"
  std::shared_ptr<Segment> segment;                // of this host; NULL where no peer is reached through it
  SharedMemory memory;                             // of this process
  std::vector<std::unique_ptr<PeerMemory>> peers;  // by rank; NULL where this rank cannot read
  std::vector<uint8_t> readers;                    // by rank: whether it can read this rank's memory
  bool has_sockets = false;
  bool crowded = false;  // more ranks on this host than processors: whoever waits had better sleep

  // Meets all other ranks and opens the links. Throws DeviceError naming the ranks that did not come in time, and
  // InvalidArgument for an id that is none, or a rank that is taken twice.
  static Mesh join(const UniqueId& id, size_t rank, size_t ranks, const Options& options, const SharedMemory& memory);
};

}  // namespace adapter::collectives
