#include "refchip_device.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "adapter_sdk/error.h"
#include "address_space.h"
#include "collectives.h"
#include "fork_guard.h"
#include "machine.h"

namespace refchip {
namespace {

using adapter::CopyKind;
using adapter::EventHandle;
using adapter::StreamHandle;

// Host data up to this size is staged for an asynchronous copy. For more, waiting is cheaper than copying it twice, and
// a full queue of staged copies stays within Stream::kSlots times this.
constexpr size_t kMaxStagedBytes = size_t{1} << 20;
constexpr size_t kMaxInlineBytes = 448;
constexpr std::chrono::seconds kExitPatience{2};

// A copy whose source travels inside the task.
struct SmallCopy {
  SmallCopy(void* to, const void* from, size_t count) : target(to), bytes(count) { std::memcpy(data, from, count); }
  void operator()() const { std::memcpy(target, data, bytes); }

  void* target;
  size_t bytes;
  unsigned char data[kMaxInlineBytes];
};
static_assert(Task::fits_inline<SmallCopy>);

Event& event_of(EventHandle handle) {
  if (handle == nullptr) throw adapter::InvalidArgument(std::string(kDeviceType) + ": the event handle is NULL");
  return *static_cast<Event*>(handle);
}

// For tasks that refer to the caller's memory: they have run when this returns or throws.
void run_and_wait(Stream& stream, Task&& task) {
  if (stream.on_worker_thread())
    throw adapter::DeviceError(stream.name() + ": a task or callback on the stream cannot wait for a copy on it");
  stream.submit(std::move(task));
  stream.wait(stream.submitted());
  if (const auto error = stream.take_error()) throw adapter::DeviceError(*error);
}

// The caller may change or free the source as soon as this returns.
void copy_from_host(Stream& stream, void* dst, const void* src, size_t bytes) {
  void* const to = alias(dst);
  if (bytes <= kMaxInlineBytes) return stream.submit(SmallCopy(to, src, bytes));
  if (bytes > kMaxStagedBytes) return run_and_wait(stream, [=] { std::memcpy(to, src, bytes); });
  std::unique_ptr<unsigned char[]> staged(new unsigned char[bytes]);
  std::memcpy(staged.get(), src, bytes);
  stream.submit([to, bytes, staged = std::move(staged)] { std::memcpy(to, staged.get(), bytes); });
}

}  // namespace

Card& RefchipDevice::card(int number) {
  require_own_process();
  require_card(number);
  std::call_once(made_, [this] {
    std::vector<std::unique_ptr<Card>> cards;
    for (int i = 0; i < machine().cards; ++i) cards.push_back(std::make_unique<Card>(i));
    cards_ = std::move(cards);
  });
  return *cards_[static_cast<size_t>(number)];
}

std::shared_ptr<Stream> RefchipDevice::stream(int number, StreamHandle handle) {
  std::shared_ptr<Stream> found = card(number).find(static_cast<Stream*>(handle));
  if (found == nullptr)
    throw adapter::DeviceError(card_name(number) + " has no such stream; was it destroyed, or is it another card's?");
  return found;
}

int RefchipDevice::card_count() { return machine().cards; }

size_t RefchipDevice::memory_bytes(int card) {
  require_card(card);
  return machine().memory_bytes;
}

// Memory.

void* RefchipDevice::allocate(int number, size_t bytes) {
  if (bytes == 0) throw adapter::InvalidArgument(card_name(number) + ": an allocation of 0 bytes was asked for");
  return card(number).memory().allocate(bytes);
}

void RefchipDevice::deallocate(int number, void* address, size_t /*bytes*/) {
  if (in_forked_child()) return;
  card(number).drain();
  card(number).memory().release(address);
}

adapter::MemoryStats RefchipDevice::memory_stats(int number) {
  const Allocator::Statistics statistics = card(number).memory().statistics();
  return {statistics.total, statistics.free};
}

size_t RefchipDevice::allocated_bytes(int number) { return card(number).memory().statistics().allocated; }

// Copies. Synchronous ones report errors of earlier work on the card: what they would deliver is not to be trusted.

void RefchipDevice::require_copy(int number, CopyKind kind, const void* dst, const void* src, size_t bytes) {
  const Allocator& memory = card(number).memory();
  const bool to_host = kind == CopyKind::device_to_host;
  const bool from_host = kind == CopyKind::host_to_device;
  const void* const host = to_host ? dst : src;
  if ((to_host || from_host) && AddressSpace::instance().card_of(host) >= 0)
    throw adapter::DeviceError(card_name(number) + ": the host side of a copy between host and device, its " +
                               (to_host ? "target" : "source") + ", is a device address");
  if (!to_host) memory.require_range(dst, bytes, "target");
  if (!from_host) memory.require_range(src, bytes, "source");
}

void RefchipDevice::copy(int number, CopyKind kind, void* dst, const void* src, size_t bytes) {
  if (bytes == 0) return;
  require_copy(number, kind, dst, src, bytes);
  card(number).synchronize();
  std::memmove(alias(dst), alias(src), bytes);
}

void RefchipDevice::copy_peer(int dst_card, int src_card, void* dst, const void* src, size_t bytes) {
  if (bytes == 0) return;
  card(dst_card).memory().require_range(dst, bytes, "target");
  card(src_card).memory().require_range(src, bytes, "source");
  card(src_card).synchronize();
  card(dst_card).synchronize();
  std::memmove(alias(dst), alias(src), bytes);
}

void RefchipDevice::fill(int number, void* address, uint8_t value, size_t bytes) {
  if (bytes == 0) return;
  card(number).memory().require_range(address, bytes, "target");
  card(number).synchronize();
  std::memset(alias(address), value, bytes);
}

void RefchipDevice::copy_async(int number, StreamHandle handle, CopyKind kind, void* dst, const void* src,
                               size_t bytes) {
  if (bytes == 0) return;
  const std::shared_ptr<Stream> on = stream(number, handle);
  require_copy(number, kind, dst, src, bytes);
  void* const to = alias(dst);
  const void* const from = alias(src);
  switch (kind) {
    case CopyKind::host_to_device: return copy_from_host(*on, dst, src, bytes);
    case CopyKind::device_to_host:
      // Host memory is pageable as far as we know: its owner may read or free it without ever synchronising the stream,
      // so the copy completes before we return.
      return run_and_wait(*on, [=] { std::memcpy(to, from, bytes); });
    case CopyKind::device_to_device: return on->submit([=] { std::memmove(to, from, bytes); });
  }
  throw adapter::InvalidArgument("unknown kind of copy: " + std::to_string(static_cast<int>(kind)));
}

// Paddle names one stream, but the copy concerns two cards: it comes after what either was given before, and what
// either is given later comes after it.
void RefchipDevice::copy_peer_async(int dst_card, int src_card, StreamHandle handle, void* dst, const void* src,
                                    size_t bytes) {
  if (bytes == 0) return;
  card(dst_card).memory().require_range(dst, bytes, "target");
  card(src_card).memory().require_range(src, bytes, "source");
  std::shared_ptr<Stream> on = card(src_card).find(static_cast<Stream*>(handle));
  if (on == nullptr) on = stream(dst_card, handle);
  std::vector<std::shared_ptr<Stream>> others = card(dst_card).streams();
  if (src_card != dst_card)
    for (std::shared_ptr<Stream>& other : card(src_card).streams()) others.push_back(std::move(other));
  std::vector<Mark> earlier;
  for (const std::shared_ptr<Stream>& other : others)
    if (other != on) earlier.emplace_back(other);
  void* const to = alias(dst);
  const void* const from = alias(src);
  on->submit([=, earlier = std::move(earlier)] {
    for (const Mark& mark : earlier) mark.wait();
    std::memmove(to, from, bytes);
  });
  const Mark copied(on);
  for (const std::shared_ptr<Stream>& other : others)
    if (other != on) other->submit([copied] { copied.wait(); });
}

// Streams.

StreamHandle RefchipDevice::create_stream(int number) {
  Card& on = card(number);
  // As late as possible, since exit handlers run last in, first out: before what kernels rely on is torn down.
  std::call_once(exit_hook_, [this] {
    static RefchipDevice* const device = this;
    std::atexit([] { device->drain_at_exit(); });
  });
  return on.create_stream();
}

// Work in flight may use libraries that are about to be torn down. A task that hangs must not keep the process from
// exiting, so there is a limit; worker threads that sleep or hang end with the process.
void RefchipDevice::drain_at_exit() {
  if (in_forked_child()) return;
  const auto deadline = std::chrono::steady_clock::now() + kExitPatience;
  for (const std::unique_ptr<Card>& each : cards_) each->drain_until(deadline);
}

void RefchipDevice::destroy_stream(int number, StreamHandle handle) {
  if (in_forked_child()) return;
  card(number).destroy_stream(static_cast<Stream*>(handle));
}

bool RefchipDevice::stream_done(int number, StreamHandle handle) {
  const std::shared_ptr<Stream> asked = stream(number, handle);
  return asked->reached(asked->submitted());
}

void RefchipDevice::synchronize_stream(int number, StreamHandle handle) {
  const std::shared_ptr<Stream> awaited = stream(number, handle);
  awaited->wait(awaited->submitted());
  if (const auto error = awaited->take_error()) throw adapter::DeviceError(*error);
  if (const auto error = card(number).memory().take_error()) throw adapter::DeviceError(*error);
}

void RefchipDevice::add_callback(int number, StreamHandle handle, std::function<void()> callback) {
  stream(number, handle)->submit(std::move(callback));
}

// Events.

EventHandle RefchipDevice::create_event(int number) {
  require_own_process();
  require_card(number);
  return new Event();
}

void RefchipDevice::destroy_event(int /*card*/, EventHandle event) {
  if (in_forked_child()) return;
  delete static_cast<Event*>(event);
}

void RefchipDevice::record_event(int number, StreamHandle handle, EventHandle event) {
  event_of(event).record(stream(number, handle));
}

bool RefchipDevice::event_done(int /*card*/, EventHandle event) {
  require_own_process();
  return event_of(event).mark().reached();
}

void RefchipDevice::synchronize_event(int /*card*/, EventHandle event) {
  require_own_process();
  event_of(event).mark().wait();
}

void RefchipDevice::wait_event(int number, StreamHandle handle, EventHandle event) {
  const std::shared_ptr<Stream> waiting = stream(number, handle);
  Mark mark = event_of(event).mark();
  if (!mark.reached()) waiting->submit([mark = std::move(mark)] { mark.wait(); });
}

adapter::Collectives* RefchipDevice::collectives() {
  static RefchipCollectives& communicators = *new RefchipCollectives(*this);  // outlives exit hooks
  return &communicators;
}

void RefchipDevice::synchronize(int number) { card(number).synchronize_and_check(); }

}  // namespace refchip
