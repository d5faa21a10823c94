#include "collectives/exchange.h"

#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <cstring>

#include "adapter_sdk/error.h"
#include "collectives/fold.h"

namespace adapter::collectives {
namespace {

// What is handed over at once: small enough that the other side starts early, large enough that telling it is cheap.
constexpr size_t kPiece = size_t{64} << 10;
constexpr std::chrono::microseconds kSpin{50};
constexpr std::chrono::milliseconds kNap{50};      // between two looks at whether the others are still there
constexpr std::chrono::milliseconds kPatience{5};  // with a receiver, before the rest of a message is left behind
constexpr std::chrono::milliseconds kShortNap{1};
constexpr std::chrono::milliseconds kMixedNap{1};  // where sockets and shared memory have to be watched at once

// From here on a message is worth a line that says where it lies.
constexpr size_t kLarge = size_t{16} << 10;

struct Source {
  uint64_t elsewhere = 0;  // 1: at `offset` of the sender's memory; 0: it follows
  uint64_t offset = 0;
};

size_t padding_of(size_t bytes) { return (Link::kAlignment - bytes % Link::kAlignment) % Link::kAlignment; }

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::all_reduce: return "all_reduce";
    case Kind::broadcast: return "broadcast";
    case Kind::reduce: return "reduce";
    case Kind::all_gather: return "all_gather";
    case Kind::reduce_scatter: return "reduce_scatter";
    case Kind::all_to_all: return "all_to_all";
    case Kind::barrier: return "barrier";
    case Kind::point_to_point: return "send/recv";
  }
  return "an unknown operation";
}

std::string to_string(const Envelope& envelope) {
  std::string text = std::string(name_of(envelope.kind)) + " of " + std::to_string(envelope.count) + " " +
                     name_of(static_cast<DType>(envelope.dtype));
  const bool reduces =
      envelope.kind == Kind::all_reduce || envelope.kind == Kind::reduce || envelope.kind == Kind::reduce_scatter;
  if (reduces) text += std::string(" (") + name_of(static_cast<ReduceOp>(envelope.reduction)) + ")";
  if (envelope.kind == Kind::broadcast || envelope.kind == Kind::reduce)
    text += " with root " + std::to_string(envelope.root);
  if (envelope.number > 0) text += ", operation " + std::to_string(envelope.number);
  return text;
}

Exchange::Exchange(Mesh& mesh, std::chrono::milliseconds limit)
    : mesh_(mesh), limit_(limit), out_(mesh.ranks), in_(mesh.ranks), lent_(mesh.ranks), backlog_(mesh.ranks) {}

void Exchange::announce(size_t peer, const Envelope& envelope) {
  static_assert(sizeof(Envelope) <= Link::kAlignment);
  Outgoing& out = out_[peer];
  out.envelope.fill(std::byte{0});
  std::memcpy(out.envelope.data(), &envelope, sizeof envelope);
  out.pieces.push_back({out.envelope.data(), out.envelope.size()});
}

void Exchange::expect(size_t peer, const Envelope& envelope) {
  in_[peer].has_envelope = true;
  in_[peer].expected = envelope;
}

void Exchange::send(size_t peer, const void* data, size_t bytes, bool copied) {
  if (bytes == 0) return;
  if (bytes >= kLarge && mesh_.readers[peer]) {
    Source source;
    if (!copied && mesh_.memory.holds(data, bytes))
      source = {1, static_cast<uint64_t>(static_cast<const std::byte*>(data) - mesh_.memory.base)};
    std::memcpy(out_[peer].source.data(), &source, sizeof source);
    out_[peer].pieces.push_back({out_[peer].source.data(), out_[peer].source.size()});
    lent_[peer] += source.elsewhere;
    if (source.elsewhere) return;
  }
  out_[peer].pieces.push_back({static_cast<const std::byte*>(data), bytes});
  out_[peer].padding = padding_of(bytes);
}

void Exchange::receive(size_t peer, void* data, size_t bytes) {
  if (bytes == 0) return;
  in_[peer].pieces.push_back({static_cast<std::byte*>(data), bytes});
  in_[peer].padding = padding_of(bytes);
  in_[peer].bytes = bytes;
  in_[peer].has_source = bytes >= kLarge && mesh_.peers[peer] != nullptr;
}

void Exchange::receive_and_fold(const void* own, void* out, size_t count, DType dtype, ReduceOp op) {
  if (count == 0) return;
  fold_ = {static_cast<const std::byte*>(own),   static_cast<std::byte*>(out), count, dtype, op,
           std::vector<const void*>(mesh_.ranks)};
  const size_t bytes = count * size_of(dtype);
  for (size_t peer = 0; peer < mesh_.ranks; ++peer) {
    if (peer == mesh_.rank) continue;
    in_[peer].padding = padding_of(bytes);
    in_[peer].bytes = bytes;
    in_[peer].has_source = bytes >= kLarge && mesh_.peers[peer] != nullptr;
  }
}

void Exchange::run() {
  // Envelopes first: a rank that disagrees with another must have told all of them what it wants.
  for (size_t peer = 0; peer < mesh_.ranks; ++peer)
    if (peer != mesh_.rank) step_out(peer);
  Clock::time_point last_progress = Clock::now();
  for (;;) {
    bool moved = false;
    while (step()) moved = true;
    if (finished()) break;
    if (moved || wait(kNap))
      last_progress = Clock::now();
    else
      require_progress(last_progress);
  }
  clear();
}

void Exchange::require_progress(Clock::time_point last_progress) {
  throw_if_lost();
  if (Clock::now() - last_progress > limit_) throw DeviceError(late());
}

// ---- messages that are left behind ----------------------------------------------------------------------------------

void Exchange::post(size_t peer, const Envelope& envelope, const void* data, size_t bytes) {
  announce(peer, envelope);
  send(peer, data, bytes, true);
  Clock::time_point last_progress = Clock::now();
  while (!finished() && Clock::now() - last_progress < kPatience) {
    if (step() || wait(kShortNap))
      last_progress = Clock::now();
    else
      throw_if_lost();
  }
  defer(peer);
  clear();
}

void Exchange::defer(size_t peer) {
  const Outgoing& out = out_[peer];
  Leftover left;
  for (size_t i = out.next; i < out.pieces.size(); ++i) {
    const Arrived& piece = out.pieces[i];
    const size_t from = i == out.next ? out.done : 0;
    left.bytes.insert(left.bytes.end(), piece.data + from, piece.data + piece.bytes);
  }
  left.bytes.resize(left.bytes.size() + out.padding);
  if (!left.bytes.empty()) backlog_[peer].push_back(std::move(left));
}

bool Exchange::has_backlog() const {
  return std::any_of(backlog_.begin(), backlog_.end(), [](const auto& queue) { return !queue.empty(); });
}

bool Exchange::pump() {
  bool moved = false;
  for (size_t peer = 0; peer < mesh_.ranks; ++peer)
    if (peer != mesh_.rank) moved |= pump(peer);
  return moved;
}

bool Exchange::pump(size_t peer) {
  bool moved = false;
  while (!backlog_[peer].empty()) {
    Leftover& left = backlog_[peer].front();
    const Room room = mesh_.links[peer]->room();
    const size_t bytes = std::min({room.bytes, left.bytes.size() - left.sent, kPiece});
    if (bytes == 0) break;
    std::memcpy(room.data, left.bytes.data() + left.sent, bytes);
    mesh_.links[peer]->commit(bytes);
    left.sent += bytes;
    if (left.sent == left.bytes.size()) backlog_[peer].pop_front();
    moved = true;
  }
  return moved;
}

bool Exchange::step() {
  bool moved = false;
  for (size_t i = 1; i < mesh_.ranks; ++i) {
    // Every rank begins with another peer, so that they do not all turn to the same one.
    moved |= step_out((mesh_.rank + i) % mesh_.ranks);
    moved |= step_in((mesh_.rank + mesh_.ranks - i) % mesh_.ranks);
  }
  return step_fold() || moved;
}

bool Exchange::step_out(size_t peer) {
  if (!backlog_[peer].empty()) return pump(peer);
  Outgoing& out = out_[peer];
  if (out.finished()) return false;
  Link& link = *mesh_.links[peer];
  const Room room = link.room();
  size_t used = 0;
  while (out.next < out.pieces.size() && used < std::min(room.bytes, kPiece)) {
    const Arrived& piece = out.pieces[out.next];
    const size_t bytes = std::min({piece.bytes - out.done, room.bytes - used, kPiece - used});
    std::memcpy(room.data + used, piece.data + out.done, bytes);
    used += bytes;
    out.done += bytes;
    if (out.done < piece.bytes) break;
    ++out.next;
    out.done = 0;
  }
  if (out.next == out.pieces.size() && out.padding <= room.bytes - used) {
    used += out.padding;  // whatever stands there: nobody reads it
    out.padding = 0;
  }
  if (used > 0) link.commit(used);
  return used > 0;
}

bool Exchange::step_in(size_t peer) {
  Incoming& in = in_[peer];
  if (in.finished()) return false;
  Link& link = *mesh_.links[peer];
  if (in.has_envelope || in.has_source) {
    const Arrived head = link.arrived();
    if (head.bytes < Link::kAlignment) return false;
    if (in.has_envelope) {
      check_envelope(peer, head.data);
      in.has_envelope = false;
    } else {
      Source source;
      std::memcpy(&source, head.data, sizeof source);
      if (source.elsewhere) in.elsewhere = mesh_.peers[peer]->at(source.offset, in.bytes);
      if (source.elsewhere) in.padding = 0;
      in.has_source = false;
    }
    link.consume(Link::kAlignment);
    return true;
  }
  const Arrived arrived = this->arrived(peer);
  size_t used = 0;
  while (in.next < in.pieces.size() && used < std::min(arrived.bytes, kPiece)) {
    const Room& piece = in.pieces[in.next];
    const size_t bytes = std::min({piece.bytes - in.done, arrived.bytes - used, kPiece - used});
    std::memcpy(piece.data + in.done, arrived.data + used, bytes);
    used += bytes;
    in.done += bytes;
    if (in.done < piece.bytes) break;
    ++in.next;
    in.done = 0;
  }
  const bool folding = fold_.left > 0;
  if (!folding && in.next == in.pieces.size() && in.padding > 0 && in.padding <= arrived.bytes - used) {
    used += in.padding;
    in.padding = 0;
  }
  if (used > 0) take(peer, used);
  return used > 0;
}

// What can be read of the peer's message: from its own memory all of it, else what has come.
Arrived Exchange::arrived(size_t peer) {
  const Incoming& in = in_[peer];
  return in.elsewhere != nullptr ? Arrived{in.elsewhere, in.bytes} : mesh_.links[peer]->arrived();
}

void Exchange::take(size_t peer, size_t bytes) {
  Incoming& in = in_[peer];
  if (in.elsewhere == nullptr) return mesh_.links[peer]->consume(bytes);
  in.elsewhere += bytes;
  in.bytes -= bytes;
  if (in.bytes > 0) return;
  in.elsewhere = nullptr;
  mesh_.links[peer]->done_elsewhere();
}

// As many elements as have come from every peer.
bool Exchange::step_fold() {
  if (fold_.left == 0) return false;
  const size_t width = size_of(fold_.dtype);
  size_t count = std::min(fold_.left, kPiece / width);
  for (size_t peer = 0; peer < mesh_.ranks; ++peer) {
    if (peer == mesh_.rank) {
      fold_.sources[peer] = fold_.own;
      continue;
    }
    if (in_[peer].has_envelope || in_[peer].has_source) return false;
    const Arrived arrived = this->arrived(peer);
    fold_.sources[peer] = arrived.data;
    count = std::min(count, arrived.bytes / width);
  }
  if (count == 0) return false;
  fold(fold_.dtype, fold_.op, fold_.sources.data(), mesh_.ranks, fold_.out, count);
  for (size_t peer = 0; peer < mesh_.ranks; ++peer)
    if (peer != mesh_.rank) take(peer, count * width);
  fold_.own += count * width;
  fold_.out += count * width;
  fold_.left -= count;
  return true;
}

bool Exchange::finished() {
  if (fold_.left > 0) return false;
  for (size_t peer = 0; peer < mesh_.ranks; ++peer) {
    if (peer == mesh_.rank) continue;
    if (!out_[peer].finished() || !in_[peer].finished() || !mesh_.links[peer]->flushed()) return false;
    if (mesh_.links[peer]->read_elsewhere() < lent_[peer]) return false;
  }
  return true;
}

void Exchange::check_envelope(size_t peer, const std::byte* data) {
  Envelope got;
  std::memcpy(&got, data, sizeof got);
  const Envelope& own = in_[peer].expected;
  if (std::memcmp(&got, &own, sizeof got) == 0) return;
  throw DeviceError("the ranks disagree: " + mesh_.names[peer] + " calls " + to_string(got) + ", " +
                    mesh_.names[mesh_.rank] + " calls " + to_string(own) +
                    "; all ranks of a group have to make the same calls with the same sizes in the same order");
}

// ---- waiting --------------------------------------------------------------------------------------------------------

// True when something moved meanwhile.
bool Exchange::wait(std::chrono::milliseconds nap) {
  const auto spin_end = Clock::now() + kSpin;
  while (!mesh_.crowded && Clock::now() < spin_end) {
    for (int i = 0; i < 32; ++i) relax();
    if (step() || finished()) return true;
  }
  sched_yield();
  return step() || finished() || sleep(nap) || step();
}

bool Exchange::sleep(std::chrono::milliseconds nap) {
  if (mesh_.has_sockets) {
    std::vector<pollfd> asked;
    for (size_t peer = 0; peer < mesh_.ranks; ++peer) {
      if (peer == mesh_.rank || mesh_.links[peer]->descriptor() < 0) continue;
      const short events = mesh_.links[peer]->flushed() ? POLLIN : POLLIN | POLLOUT;
      asked.push_back({mesh_.links[peer]->descriptor(), events, 0});
    }
    if (mesh_.segment != nullptr) nap = std::min(nap, kMixedNap);
    poll(asked.data(), asked.size(), static_cast<int>(nap.count()));
  } else if (mesh_.segment != nullptr) {
    const uint32_t ticket = mesh_.segment->prepare_to_sleep();
    if (step() || finished()) {  // the last acknowledgement moves nothing, but it is what we wait for
      mesh_.segment->stay_awake();
      return true;
    }
    mesh_.segment->sleep(ticket, nap);
  }
  return false;
}

void Exchange::throw_if_lost() {
  if (mesh_.segment != nullptr)
    if (const std::string reason = mesh_.segment->failure(); !reason.empty()) throw DeviceError(reason);
  for (size_t peer = 0; peer < mesh_.ranks; ++peer) {
    if (peer == mesh_.rank) continue;
    const bool waited_for = !out_[peer].finished() || !in_[peer].finished() || fold_.left > 0 ||
                            !backlog_[peer].empty() || mesh_.links[peer]->read_elsewhere() < lent_[peer];
    if (!waited_for) continue;
    const std::string gone = mesh_.links[peer]->gone();
    // What it sent before it went may have come in between.
    if (!gone.empty() && !step()) throw DeviceError(gone);
  }
}

std::string Exchange::late() {
  return "nothing has moved for " + describe_timeout(limit_) + "; waiting for " + waiting_for() +
         "; see whether these ranks make this call, and raise the limit if they are only late";
}

std::string Exchange::waiting_for() {
  std::string text;
  const auto add = [&](const std::string& what) { text += (text.empty() ? "" : ", ") + what; };
  for (size_t peer = 0; peer < mesh_.ranks; ++peer) {
    if (peer == mesh_.rank) continue;
    if (in_[peer].has_envelope)
      add(mesh_.names[peer] + ", which has not made the call");
    else if (!in_[peer].finished() || fold_.left > 0)
      add("data of " + mesh_.names[peer]);
    else if (!out_[peer].finished() || !backlog_[peer].empty() || mesh_.links[peer]->read_elsewhere() < lent_[peer])
      add(mesh_.names[peer] + " to take its data");
  }
  return text.empty() ? "the network" : text;
}

void Exchange::clear() {
  for (Outgoing& out : out_) out = Outgoing{};
  for (Incoming& in : in_) in = Incoming{};
  fold_ = Fold{};
}

}  // namespace adapter::collectives
