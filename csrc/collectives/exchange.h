// One operation's traffic: what goes to whom, what comes from whom, and a reduction of what several ranks send.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "adapter_sdk/collectives.h"
#include "collectives/mesh.h"
#include "collectives/socket.h"

namespace adapter::collectives {

enum class Kind : uint16_t {
  all_reduce = 1,
  broadcast,
  reduce,
  all_gather,
  reduce_scatter,
  all_to_all,
  barrier,
  point_to_point
};
const char* name_of(Kind kind);

// Goes ahead of what a rank sends, so that ranks which disagree learn it instead of mixing up their data.
struct Envelope {
  Kind kind = Kind::barrier;
  uint16_t reduction = 0;
  int32_t dtype = 0;
  uint64_t root = 0;
  uint64_t count = 0;
  uint64_t number = 0;  // of the collective on this communicator; 0 for send and recv, whose order is that of the pair
};
std::string to_string(const Envelope& envelope);  // "all_reduce of 12 float32 (sum), operation 3"

// Fill in, then run(); may be filled in and run again for the next phase of the same operation.
class Exchange {
 public:
  Exchange(Mesh& mesh, std::chrono::milliseconds limit);

  // To the peer: an envelope, which the peer has to expect in the same words.
  void announce(size_t peer, const Envelope& envelope);
  void expect(size_t peer, const Envelope& envelope);
  // Data in shared memory is read by the peer where it lies, unless `copied`.
  void send(size_t peer, const void* data, size_t bytes, bool copied = false);
  void receive(size_t peer, void* data, size_t bytes);
  // Reduces what all peers send with this rank's own part, in order of rank; all peers have to send as much.
  void receive_and_fold(const void* own, void* out, size_t count, DType dtype, ReduceOp op);

  // Returns when all has been sent and received. Throws DeviceError: a rank is gone, disagrees, gave up, or nothing
  // moved for longer than the limit.
  void run();

  // A message that this rank may leave behind: blocks until it is sent, or for a few milliseconds without progress;
  // then what is left is copied, and goes ahead of anything else to this peer. For sends that are not in a group: two
  // ranks which first send and then receive would wait for each other for ever.
  void post(size_t peer, const Envelope& envelope, const void* data, size_t bytes);
  bool has_backlog() const;
  // Moves on with what was left behind. False when nothing moved.
  bool pump();

 private:
  struct Outgoing {
    std::vector<Arrived> pieces;
    size_t next = 0, done = 0;  // piece, and how many bytes of it
    size_t padding = 0;
    std::array<std::byte, Link::kAlignment> envelope, source;
    bool finished() const { return next == pieces.size() && padding == 0; }
  };
  struct Incoming {
    std::vector<Room> pieces;
    size_t next = 0, done = 0;
    size_t padding = 0;
    bool has_envelope = false;
    Envelope expected;
    bool has_source = false;               // says where a large message lies; comes before it
    size_t bytes = 0;                      // of the message
    const std::byte* elsewhere = nullptr;  // in the sender's memory
    bool finished() const { return !has_envelope && !has_source && next == pieces.size() && padding == 0; }
  };
  struct Fold {
    const std::byte* own = nullptr;
    std::byte* out = nullptr;
    size_t left = 0;
    DType dtype = DType::undefined;
    ReduceOp op = ReduceOp::sum;
    std::vector<const void*> sources;
  };

  bool step();
  bool pump(size_t peer);
  Arrived arrived(size_t peer);
  void take(size_t peer, size_t bytes);
  void defer(size_t peer);
  void require_progress(Clock::time_point last_progress);
  bool step_out(size_t peer);
  bool step_in(size_t peer);
  bool step_fold();
  bool finished();
  void check_envelope(size_t peer, const std::byte* data);
  bool wait(std::chrono::milliseconds nap);
  bool sleep(std::chrono::milliseconds nap);
  void throw_if_lost();
  std::string late();
  std::string waiting_for();
  void clear();

  Mesh& mesh_;
  const std::chrono::milliseconds limit_;
  std::vector<Outgoing> out_;
  std::vector<Incoming> in_;
  std::vector<uint64_t> lent_;  // by peer: messages given to it to be read where they lie, since the beginning
  Fold fold_;
  struct Leftover {
    std::vector<std::byte> bytes;
    size_t sent = 0;
  };
  std::vector<std::deque<Leftover>> backlog_;
};

}  // namespace adapter::collectives
