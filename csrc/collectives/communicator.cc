#include "collectives/communicator.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "adapter_sdk/error.h"
#include "collectives/fold.h"

namespace adapter::collectives {
namespace {

// Up to here every rank sends everything to everyone and reduces all of it: one exchange instead of two.
constexpr size_t kSmallBytes = size_t{4} << 10;

constexpr std::chrono::seconds kFarewell{10};  // for messages that nobody has taken when the communicator goes

std::string next_name(size_t rank, size_t ranks) {
  static std::atomic<int> made{0};
  return "communicator " + std::to_string(made++) + " (rank " + std::to_string(rank) + " of " + std::to_string(ranks) +
         ")";
}

// Rank r reduces elements [begin(r), begin(r + 1)); parts begin at multiples of a cache line, the last may be shorter.
struct Parts {
  size_t count, step;
  Parts(size_t elements, size_t ranks, size_t width)
      : count(elements), step((((elements + ranks - 1) / ranks) * width + 63) / 64 * 64 / width) {}
  size_t begin(size_t rank) const { return std::min(count, rank * step); }
  size_t size(size_t rank) const { return begin(rank + 1) - begin(rank); }
};

Envelope envelope(Kind kind, size_t count, DType dtype, ReduceOp op = ReduceOp::sum, size_t root = 0) {
  Envelope envelope;
  envelope.kind = kind;
  envelope.reduction = static_cast<uint16_t>(op);
  envelope.dtype = static_cast<int32_t>(dtype);
  envelope.root = root;
  envelope.count = count;
  return envelope;
}

void copy_bytes(void* to, const void* from, size_t bytes) {
  if (bytes > 0 && to != from) std::memmove(to, from, bytes);
}

}  // namespace

Communicator::Communicator(const UniqueId& id, size_t rank, size_t ranks, const Options& options,
                           const SharedMemory& memory)
    : options_(options),
      mesh_(Mesh::join(id, rank, ranks, options, memory)),
      name_(next_name(rank, ranks)),
      exchange_(mesh_, options.timeout) {}

Communicator::~Communicator() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
  }
  left_behind_.notify_one();
  if (!helper_.joinable()) return;
  helper_.join();
  const auto deadline = Clock::now() + std::min<std::chrono::milliseconds>(options_.timeout, kFarewell);
  while (lost_.empty() && exchange_.has_backlog() && Clock::now() < deadline)
    if (!exchange_.pump()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

std::string Communicator::transport() const {
  const auto shared = std::any_of(mesh_.links.begin(), mesh_.links.end(),
                                  [](const auto& link) { return link != nullptr && link->descriptor() < 0; });
  return !mesh_.has_sockets ? "shm" : shared ? "shm and tcp" : "tcp";
}

// ---- frame ----------------------------------------------------------------------------------------------------------

template <typename Work>
void Communicator::operate(Envelope envelope, Work&& work) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (envelope.kind != Kind::point_to_point) envelope.number = ++number_;
  const std::string where = name_ + ", " + to_string(envelope) + ": ";
  if (!lost_.empty()) throw DeviceError(where + "the communicator was lost before: " + lost_);
  try {
    work(envelope);
  } catch (const std::exception& error) {
    fail(error.what());
    throw DeviceError(where + error.what());
  }
}

// Looks in often rather than being told: it only matters when the program has nothing else to do.
void Communicator::help() {
  constexpr std::chrono::microseconds kPause{200};
  std::unique_lock<std::mutex> lock(mutex_);
  while (!closing_) {
    if (!lost_.empty() || !exchange_.has_backlog()) {
      left_behind_.wait(lock);
      continue;
    }
    exchange_.pump();
    lock.unlock();
    std::this_thread::sleep_for(kPause);
    lock.lock();
  }
}

void Communicator::fail(const std::string& reason) {
  lost_ = reason;
  if (mesh_.segment != nullptr) mesh_.segment->fail(mesh_.names[mesh_.rank] + " gave up: " + reason);
  for (const auto& link : mesh_.links)
    if (link != nullptr) link->hang_up();
}

void Communicator::greet(const Envelope& envelope) {
  for (size_t peer = 0; peer < ranks(); ++peer) {
    if (peer == rank()) continue;
    exchange_.announce(peer, envelope);
    exchange_.expect(peer, envelope);
  }
}

void Communicator::require_peer(size_t peer, const char* role) const {
  if (peer >= ranks())
    throw InvalidArgument(name_ + ": the " + role + " is rank " + std::to_string(peer) + ", but there are " +
                          std::to_string(ranks()) + " ranks");
}

// ---- operations -----------------------------------------------------------------------------------------------------

void Communicator::all_reduce(const void* send, void* recv, size_t count, DType dtype, ReduceOp op) {
  require_reducible(dtype, op);
  const Envelope named = envelope(Kind::all_reduce, count, dtype, op);
  operate(named, [&](const Envelope& call) {
    greet(call);
    const auto* from = static_cast<const std::byte*>(send);
    auto* to = static_cast<std::byte*>(recv);
    if (count * size_of(dtype) <= kSmallBytes)
      reduce_at_once(from, to, count, dtype, op);
    else
      reduce_in_parts(from, to, count, dtype, op);
  });
}

void Communicator::reduce_at_once(const std::byte* send, std::byte* recv, size_t count, DType dtype, ReduceOp op) {
  std::byte result[kSmallBytes];  // what is sent must not change while the others still read it
  for (size_t peer = 0; peer < ranks(); ++peer)
    if (peer != rank()) exchange_.send(peer, send, count * size_of(dtype));
  exchange_.receive_and_fold(send, result, count, dtype, op);
  if (ranks() == 1 && count > 0) {
    const void* const source = send;
    fold(dtype, op, &source, 1, result, count);
  }
  exchange_.run();
  copy_bytes(recv, result, count * size_of(dtype));
}

// Every rank reduces its part of the elements, then gives it to the others. What a rank receives as a result overwrites
// only what it has sent, since the sender of the result needed it.
void Communicator::reduce_in_parts(const std::byte* send, std::byte* recv, size_t count, DType dtype, ReduceOp op) {
  const size_t width = size_of(dtype);
  const Parts parts(count, ranks(), width);
  const size_t own = parts.begin(rank()) * width;
  if (ranks() == 1) {
    const void* const source = send;
    return fold(dtype, op, &source, 1, recv, count);
  }
  for (size_t peer = 0; peer < ranks(); ++peer)
    if (peer != rank()) exchange_.send(peer, send + parts.begin(peer) * width, parts.size(peer) * width);
  exchange_.receive_and_fold(send + own, recv + own, parts.size(rank()), dtype, op);
  exchange_.run();
  for (size_t peer = 0; peer < ranks(); ++peer) {
    if (peer == rank()) continue;
    exchange_.send(peer, recv + own, parts.size(rank()) * width);
    exchange_.receive(peer, recv + parts.begin(peer) * width, parts.size(peer) * width);
  }
  exchange_.run();
}

void Communicator::broadcast(void* data, size_t count, DType dtype, size_t root) {
  require_peer(root, "root");
  const Envelope named = envelope(Kind::broadcast, count, dtype, ReduceOp::sum, root);
  const size_t bytes = count * size_of(dtype);
  operate(named, [&](const Envelope& call) {
    greet(call);
    if (rank() != root)
      exchange_.receive(root, data, bytes);
    else
      for (size_t peer = 0; peer < ranks(); ++peer)
        if (peer != root) exchange_.send(peer, data, bytes);
    exchange_.run();
  });
}

// Only the root folds, since only it wants the result.
void Communicator::reduce(const void* send, void* recv, size_t count, DType dtype, ReduceOp op, size_t root) {
  require_reducible(dtype, op);
  require_peer(root, "root");
  const Envelope named = envelope(Kind::reduce, count, dtype, op, root);
  operate(named, [&](const Envelope& call) {
    greet(call);
    if (rank() != root)
      exchange_.send(root, send, count * size_of(dtype));
    else if (ranks() > 1)
      exchange_.receive_and_fold(send, recv, count, dtype, op);
    else
      fold(dtype, op, &send, 1, recv, count);
    exchange_.run();
  });
}

void Communicator::all_gather(const void* send, void* recv, size_t count, DType dtype) {
  const Envelope named = envelope(Kind::all_gather, count, dtype);
  const size_t bytes = count * size_of(dtype);
  auto* const to = static_cast<std::byte*>(recv);
  operate(named, [&](const Envelope& call) {
    greet(call);
    copy_bytes(to + rank() * bytes, send, bytes);
    for (size_t peer = 0; peer < ranks(); ++peer) {
      if (peer == rank()) continue;
      exchange_.send(peer, to + rank() * bytes, bytes);
      exchange_.receive(peer, to + peer * bytes, bytes);
    }
    exchange_.run();
  });
}

void Communicator::reduce_scatter(const void* send, void* recv, size_t count, DType dtype, ReduceOp op) {
  require_reducible(dtype, op);
  const Envelope named = envelope(Kind::reduce_scatter, count, dtype, op);
  const size_t bytes = count * size_of(dtype);
  const auto* const from = static_cast<const std::byte*>(send);
  operate(named, [&](const Envelope& call) {
    greet(call);
    for (size_t peer = 0; peer < ranks(); ++peer)
      if (peer != rank()) exchange_.send(peer, from + peer * bytes, bytes);
    const void* const own = from + rank() * bytes;
    if (ranks() > 1)
      exchange_.receive_and_fold(own, recv, count, dtype, op);
    else
      fold(dtype, op, &own, 1, recv, count);
    exchange_.run();
  });
}

// Sizes differ from pair to pair, so each pair agrees on its own.
void Communicator::all_to_all(const std::vector<Part>& send, const std::vector<Part>& recv) {
  if (send.size() != ranks() || recv.size() != ranks())
    throw InvalidArgument(name_ + ": all_to_all takes " + std::to_string(ranks()) + " parts to send and as many to " +
                          "receive, not " + std::to_string(send.size()) + " and " + std::to_string(recv.size()));
  const Envelope named = envelope(Kind::all_to_all, 0, DType::uint8);
  operate(named, [&](const Envelope& call) {
    if (send[rank()].bytes != recv[rank()].bytes)
      throw InvalidArgument("the part for this rank itself has " + std::to_string(send[rank()].bytes) +
                            " bytes to send and " + std::to_string(recv[rank()].bytes) + " to receive");
    copy_bytes(recv[rank()].data, send[rank()].data, send[rank()].bytes);
    for (size_t peer = 0; peer < ranks(); ++peer) {
      if (peer == rank()) continue;
      Envelope out = call, in = call;
      out.count = send[peer].bytes;
      in.count = recv[peer].bytes;
      exchange_.announce(peer, out);
      exchange_.expect(peer, in);
      exchange_.send(peer, send[peer].data, send[peer].bytes);
      exchange_.receive(peer, recv[peer].data, recv[peer].bytes);
    }
    exchange_.run();
  });
}

void Communicator::barrier() {
  const Envelope named = envelope(Kind::barrier, 0, DType::uint8);
  operate(named, [&](const Envelope& call) {
    greet(call);
    exchange_.run();
  });
}

void Communicator::transfer(const std::vector<Transfer>& transfers) {
  std::vector<std::vector<const Transfer*>> out(ranks()), in(ranks());
  for (const Transfer& each : transfers) {
    require_peer(each.peer, each.sends ? "receiver" : "sender");
    (each.sends ? out : in)[each.peer].push_back(&each);
  }
  Envelope shown;
  if (!transfers.empty()) shown = envelope(Kind::point_to_point, transfers.front().count, transfers.front().dtype);
  const auto described = [&](const Transfer& each) { return envelope(Kind::point_to_point, each.count, each.dtype); };
  operate(shown, [&](const Envelope&) {
    const auto &to_self = out[rank()], &from_self = in[rank()];
    if (to_self.size() != from_self.size())
      throw InvalidArgument("a rank that sends to itself has to receive as often, within one group");
    for (size_t i = 0; i < to_self.size(); ++i) {
      const size_t bytes = to_self[i]->count * size_of(to_self[i]->dtype);
      if (bytes != from_self[i]->count * size_of(from_self[i]->dtype))
        throw InvalidArgument("a rank sends itself " + std::to_string(bytes) + " bytes but receives another number");
      copy_bytes(from_self[i]->data, to_self[i]->data, bytes);
    }
    if (transfers.size() == 1 && transfers[0].sends && transfers[0].peer != rank()) {
      const Transfer& only = transfers[0];
      exchange_.post(only.peer, described(only), only.data, only.count * size_of(only.dtype));
      if (!exchange_.has_backlog()) return;
      if (!helper_.joinable()) helper_ = std::thread([this] { help(); });
      return left_behind_.notify_one();
    }
    // The k-th of every pair goes in round k: an exchange carries one message a pair.
    size_t rounds = 0;
    for (size_t peer = 0; peer < ranks(); ++peer)
      if (peer != rank()) rounds = std::max({rounds, out[peer].size(), in[peer].size()});
    for (size_t round = 0; round < rounds; ++round) {
      for (size_t peer = 0; peer < ranks(); ++peer) {
        if (peer == rank()) continue;
        if (round < out[peer].size()) {
          const Transfer& each = *out[peer][round];
          exchange_.announce(peer, described(each));
          exchange_.send(peer, each.data, each.count * size_of(each.dtype));
        }
        if (round < in[peer].size()) {
          const Transfer& each = *in[peer][round];
          exchange_.expect(peer, described(each));
          exchange_.receive(peer, each.data, each.count * size_of(each.dtype));
        }
      }
      exchange_.run();
    }
  });
}

}  // namespace adapter::collectives
