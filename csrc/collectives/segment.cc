#include "collectives/segment.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "adapter_sdk/error.h"

namespace adapter::collectives {

struct Segment::Header {
  static constexpr size_t kReasonBytes = 1024;
  std::atomic<uint32_t> failure;  // 0 none, 1 being written, 2 readable
  char reason[kReasonBytes];
};

struct alignas(128) Segment::Member {
  std::atomic<uint32_t> bell;
  std::atomic<uint32_t> asleep;
  std::atomic<int64_t> process;
};

// Bytes written and read since the beginning, apart from each other so that writer and reader do not share a line.
struct alignas(128) Segment::Ring {
  alignas(128) std::atomic<uint64_t> written;
  alignas(128) std::atomic<uint64_t> read;
  std::atomic<uint64_t> elsewhere;  // messages that the reader has read in the writer's own memory
};

namespace {

constexpr size_t kHeaderBytes = 4096;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

[[noreturn]] void failed(const std::string& what) {
  throw DeviceError("collectives: " + what + ": " + std::strerror(errno));
}

// Addresses are shared between processes, so these are not the private variants.
void futex_wait(std::atomic<uint32_t>& word, uint32_t value, std::chrono::milliseconds limit) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limit);
  const timespec time{seconds.count(), std::chrono::nanoseconds(limit - seconds).count()};
  syscall(SYS_futex, &word, FUTEX_WAIT, value, &time, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word) { syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

}  // namespace

class Segment::RingLink final : public Link {
 public:
  RingLink(Segment& segment, size_t self, size_t other, std::string name)
      : segment_(segment),
        other_(other),
        name_(std::move(name)),
        out_(segment.ring(self, other)),
        in_(segment.ring(other, self)),
        out_data_(segment.ring_data(self, other)),
        in_data_(segment.ring_data(other, self)) {}

  Room room() override {
    const uint64_t written = out_.written.load(std::memory_order_relaxed);
    const uint64_t free = segment_.ring_bytes_ - (written - out_.read.load(std::memory_order_acquire));
    const size_t at = written % segment_.ring_bytes_;
    return {out_data_ + at, std::min<size_t>(free, segment_.ring_bytes_ - at)};
  }
  void commit(size_t bytes) override {
    out_.written.store(out_.written.load(std::memory_order_relaxed) + bytes, std::memory_order_release);
    segment_.ring_bell(other_);
  }
  Arrived arrived() override {
    const uint64_t read = in_.read.load(std::memory_order_relaxed);
    const uint64_t there = in_.written.load(std::memory_order_acquire) - read;
    const size_t at = read % segment_.ring_bytes_;
    return {in_data_ + at, std::min<size_t>(there, segment_.ring_bytes_ - at)};
  }
  void consume(size_t bytes) override {
    in_.read.store(in_.read.load(std::memory_order_relaxed) + bytes, std::memory_order_release);
    segment_.ring_bell(other_);
  }
  uint64_t read_elsewhere() const override { return out_.elsewhere.load(std::memory_order_acquire); }
  void done_elsewhere() override {
    in_.elsewhere.fetch_add(1, std::memory_order_release);
    segment_.ring_bell(other_);
  }
  std::string gone() override {
    return segment_.alive(other_) ? "" : name_ + " has ended, or has left the communicator";
  }

 private:
  Segment& segment_;
  const size_t other_;
  const std::string name_;
  Ring &out_, &in_;
  std::byte *const out_data_, *const in_data_;
};

std::shared_ptr<Segment> Segment::make(size_t members, size_t ring_bytes) {
  const int file = memfd_create("adapter-collectives", MFD_CLOEXEC);
  if (file < 0) failed("no memory file");
  return std::shared_ptr<Segment>(new Segment(file, members, ring_bytes));
}

std::shared_ptr<Segment> Segment::open(int64_t process, int descriptor, size_t members, size_t ring_bytes) {
  const std::string path = "/proc/" + std::to_string(process) + "/fd/" + std::to_string(descriptor);
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) failed("cannot open the shared memory " + path);
  return std::shared_ptr<Segment>(new Segment(file, members, ring_bytes));
}

Segment::Segment(int file, size_t members, size_t ring_bytes)
    : file_(file),
      members_(members),
      ring_bytes_(ring_bytes),
      total_(round_up(kHeaderBytes + members * sizeof(Member) + members * members * sizeof(Ring), 4096) +
             members * members * ring_bytes) {
  static_assert(sizeof(Header) <= kHeaderBytes);
  // Growing a file that has this size already changes nothing; fresh pages read as zero, which is the initial state.
  void* const base = ftruncate(file_, static_cast<off_t>(total_)) == 0
                         ? mmap(nullptr, total_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0)
                         : MAP_FAILED;
  if (base == MAP_FAILED) {
    const int error = errno;
    close(file_);
    errno = error;
    failed("cannot map " + std::to_string(total_) + " bytes of shared memory");
  }
  base_ = static_cast<std::byte*>(base);
}

Segment::~Segment() {
  munmap(base_, total_);
  close(file_);
}

Segment::Member& Segment::member(size_t index) const {
  return *reinterpret_cast<Member*>(base_ + kHeaderBytes + index * sizeof(Member));
}

Segment::Ring& Segment::ring(size_t from, size_t to) const {
  std::byte* const rings = base_ + kHeaderBytes + members_ * sizeof(Member);
  return *reinterpret_cast<Ring*>(rings + (from * members_ + to) * sizeof(Ring));
}

std::byte* Segment::ring_data(size_t from, size_t to) const {
  return base_ + (total_ - members_ * members_ * ring_bytes_) + (from * members_ + to) * ring_bytes_;
}

void Segment::join(size_t index) {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_start = static_cast<off_t>(index);
  lock.l_len = 1;
  if (fcntl(file_, F_SETLK, &lock) != 0) failed("cannot lock the shared memory as member " + std::to_string(index));
  member(index).process.store(getpid(), std::memory_order_release);
  self_ = index;
}

std::unique_ptr<Link> Segment::link(size_t self, size_t other, const std::string& other_name) {
  return std::make_unique<RingLink>(*this, self, other, other_name);
}

// A process that was killed but not yet waited for still has its number, but no lock any more. A process never sees
// its own locks, so that two ranks within one process take each other for alive.
bool Segment::alive(size_t index) const {
  if (member(index).process.load(std::memory_order_acquire) == getpid()) return true;
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_start = static_cast<off_t>(index);
  lock.l_len = 1;
  return fcntl(file_, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

void Segment::ring_bell(size_t index) {
  Member& other = member(index);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with prepare_to_sleep(): one of the two sees the other
  if (other.asleep.load(std::memory_order_relaxed) == 0) return;
  other.bell.fetch_add(1, std::memory_order_release);
  futex_wake(other.bell);
}

uint32_t Segment::prepare_to_sleep() {
  Member& own = member(self_);
  const uint32_t ticket = own.bell.load(std::memory_order_acquire);
  own.asleep.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return ticket;
}

void Segment::stay_awake() { member(self_).asleep.store(0, std::memory_order_relaxed); }

void Segment::sleep(uint32_t ticket, std::chrono::milliseconds limit) {
  futex_wait(member(self_).bell, ticket, limit);
  stay_awake();
}

void Segment::fail(const std::string& reason) {
  Header& header = *reinterpret_cast<Header*>(base_);
  uint32_t none = 0;
  if (!header.failure.compare_exchange_strong(none, 1)) return;
  const size_t bytes = std::min(reason.size(), Header::kReasonBytes - 1);
  std::memcpy(header.reason, reason.data(), bytes);
  header.reason[bytes] = '\0';
  header.failure.store(2, std::memory_order_release);
  for (size_t i = 0; i < members_; ++i) {
    member(i).bell.fetch_add(1, std::memory_order_release);
    futex_wake(member(i).bell);
  }
}

std::string Segment::failure() const {
  const Header& header = *reinterpret_cast<const Header*>(base_);
  return header.failure.load(std::memory_order_acquire) == 2 ? header.reason : "";
}

}  // namespace adapter::collectives
