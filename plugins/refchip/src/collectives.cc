#include "collectives.h"

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "adapter_sdk/error.h"
#include "address_space.h"
#include "collectives/communicator.h"
#include "fork_guard.h"
#include "refchip_device.h"

namespace refchip {
namespace {

using adapter::CollectivePart;
using adapter::CommunicatorHandle;
using adapter::size_of;
using adapter::collectives::Communicator;
using adapter::collectives::UniqueId;

// The handle. Tasks that are still on a stream keep the communicator alive after destroy().
using Shared = std::shared_ptr<Communicator>;

Shared& shared(CommunicatorHandle handle) {
  if (handle == nullptr) throw adapter::InvalidArgument("refchip: the communicator handle is NULL");
  return *static_cast<Shared*>(handle);
}

// What a thread has sent and received since group_start(), by communicator and stream, in order of appearance.
struct Pending {
  adapter::CollectiveTarget on;
  std::vector<Communicator::Transfer> transfers;
};
thread_local int group_depth = 0;
thread_local std::vector<Pending> group;

}  // namespace

size_t RefchipCollectives::unique_id_bytes() { return UniqueId::kBytes; }

void RefchipCollectives::make_unique_id(void* id) {
  const UniqueId made = adapter::collectives::make_unique_id(adapter::collectives::options_from_environment());
  std::memcpy(id, made.bytes, sizeof made.bytes);
}

CommunicatorHandle RefchipCollectives::create(int card, size_t ranks, const void* id, size_t rank) {
  require_own_process();
  device_.card(card);
  UniqueId given;
  std::memcpy(given.bytes, id, sizeof given.bytes);
  const AddressSpace& space = AddressSpace::instance();
  const adapter::collectives::SharedMemory memory{space.file(), static_cast<const std::byte*>(space.readable_begin()),
                                                  space.bytes()};
  return new Shared(
      std::make_shared<Communicator>(given, rank, ranks, adapter::collectives::options_from_environment(), memory));
}

void RefchipCollectives::destroy(CommunicatorHandle communicator) {
  if (in_forked_child()) return;
  delete &shared(communicator);
}

std::string RefchipCollectives::name(CommunicatorHandle communicator) { return shared(communicator)->name(); }
size_t RefchipCollectives::ranks(CommunicatorHandle communicator) { return shared(communicator)->ranks(); }
size_t RefchipCollectives::rank(CommunicatorHandle communicator) { return shared(communicator)->rank(); }

// The host's address of device memory that really is there.
void* RefchipCollectives::reachable(int card, const void* address, size_t bytes, const char* role) {
  if (bytes == 0) return nullptr;
  device_.card(card).memory().require_range(address, bytes, role);
  return alias(address);
}

template <typename Work>
void RefchipCollectives::submit(const Target& on, Work&& work) {
  device_.stream(on.card, on.stream)->submit([communicator = shared(on.communicator), work = std::forward<Work>(work)] {
    work(*communicator);
  });
}

void RefchipCollectives::all_reduce(const Target& on, const void* send, void* recv, size_t count, DType dtype,
                                    ReduceOp op) {
  const void* const from = reachable(on.card, send, count * size_of(dtype), "data to send");
  void* const to = reachable(on.card, recv, count * size_of(dtype), "result");
  submit(on, [=](Communicator& group) { group.all_reduce(from, to, count, dtype, op); });
}

void RefchipCollectives::broadcast(const Target& on, void* data, size_t count, DType dtype, size_t root) {
  void* const at = reachable(on.card, data, count * size_of(dtype), "data");
  submit(on, [=](Communicator& group) { group.broadcast(at, count, dtype, root); });
}

void RefchipCollectives::reduce(const Target& on, const void* send, void* recv, size_t count, DType dtype, ReduceOp op,
                                size_t root) {
  const void* const from = reachable(on.card, send, count * size_of(dtype), "data to send");
  void* const to = rank(on.communicator) == root ? reachable(on.card, recv, count * size_of(dtype), "result") : nullptr;
  submit(on, [=](Communicator& group) { group.reduce(from, to, count, dtype, op, root); });
}

void RefchipCollectives::all_gather(const Target& on, const void* send, void* recv, size_t count, DType dtype) {
  const size_t bytes = count * size_of(dtype);
  const void* const from = reachable(on.card, send, bytes, "data to send");
  void* const to = reachable(on.card, recv, bytes * ranks(on.communicator), "result");
  submit(on, [=](Communicator& group) { group.all_gather(from, to, count, dtype); });
}

void RefchipCollectives::reduce_scatter(const Target& on, const void* send, void* recv, size_t count, DType dtype,
                                        ReduceOp op) {
  const size_t bytes = count * size_of(dtype);
  const void* const from = reachable(on.card, send, bytes * ranks(on.communicator), "data to send");
  void* const to = reachable(on.card, recv, bytes, "result");
  submit(on, [=](Communicator& group) { group.reduce_scatter(from, to, count, dtype, op); });
}

void RefchipCollectives::all_to_all(const Target& on, const CollectivePart* send, const CollectivePart* recv) {
  std::vector<Communicator::Part> out, in;
  const auto part = [&](const CollectivePart& given, const char* role) -> Communicator::Part {
    const size_t bytes = given.count * size_of(given.dtype);
    return {reachable(on.card, given.data, bytes, role), bytes};
  };
  for (size_t i = 0; i < ranks(on.communicator); ++i) {
    out.push_back(part(send[i], "data to send"));
    in.push_back(part(recv[i], "result"));
  }
  submit(on, [out = std::move(out), in = std::move(in)](Communicator& group) { group.all_to_all(out, in); });
}

void RefchipCollectives::send(const Target& on, const void* data, size_t count, DType dtype, size_t peer) {
  transfer(on, true, reachable(on.card, data, count * size_of(dtype), "data to send"), count, dtype, peer);
}

void RefchipCollectives::recv(const Target& on, void* data, size_t count, DType dtype, size_t peer) {
  transfer(on, false, reachable(on.card, data, count * size_of(dtype), "result"), count, dtype, peer);
}

void RefchipCollectives::transfer(const Target& on, bool sends, void* data, size_t count, DType dtype, size_t peer) {
  const Communicator::Transfer one{sends, data, count, dtype, peer};
  if (group_depth == 0) return submit(on, [one](Communicator& communicator) { communicator.transfer({one}); });
  for (Pending& pending : group)
    if (pending.on.communicator == on.communicator && pending.on.stream == on.stream)
      return pending.transfers.push_back(one);
  group.push_back({on, {one}});
}

void RefchipCollectives::group_start() { ++group_depth; }

void RefchipCollectives::group_end() {
  if (group_depth == 0) throw adapter::InvalidArgument("group_end without group_start");
  if (--group_depth > 0) return;
  std::vector<Pending> ended;
  ended.swap(group);
  for (Pending& pending : ended)
    submit(pending.on, [transfers = std::move(pending.transfers)](Communicator& communicator) {
      communicator.transfer(transfers);
    });
}

}  // namespace refchip
