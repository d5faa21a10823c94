// Tests of refchip's runtime without Paddle: `runtime_test` runs all of them, `runtime_test NAME` one, and
// `runtime_test --bench` measures what it costs to give a task to a stream. Exit status 0 when all checks hold.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "adapter_sdk/device.h"
#include "adapter_sdk/error.h"
#include "adapter_sdk/host/executor.h"
#include "machine.h"

#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      return false;                                                                      \
    }                                                                                    \
  } while (0)

namespace {

using adapter::CopyKind;
using adapter::EventHandle;
using adapter::StreamHandle;
using adapter::host::alias;
using adapter::host::submit;
using adapter::host::Task;
using std::chrono::milliseconds;

constexpr size_t kMemory = size_t{64} << 20;
constexpr auto h2d = CopyKind::host_to_device;
constexpr auto d2h = CopyKind::device_to_host;
constexpr auto d2d = CopyKind::device_to_device;

adapter::Device& device() { return adapter::plugin_device(); }

// The message of the exception of this type that `call` throws, or "" when it throws none.
template <typename Exception, typename Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Exception& error) {
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  std::fprintf(stderr, "\"%s\" is not in: \"%s\"\n", part.c_str(), text.c_str());
  return false;
}

unsigned char* bytes_at(void* address) { return static_cast<unsigned char*>(alias(address)); }

// A device allocation or stream for the length of a test.
struct Memory {
  explicit Memory(size_t size, int on = 0) : card(on), bytes(size), address(device().allocate(on, size)) {}
  ~Memory() { device().deallocate(card, address, bytes); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  int card;
  size_t bytes;
  void* address;
};
struct OwnStream {
  explicit OwnStream(int on = 0) : card(on), handle(device().create_stream(on)) {}
  ~OwnStream() { device().destroy_stream(card, handle); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  int card;
  StreamHandle handle;
};

// A task on a stream that holds it up until opened.
class Gate {
 public:
  explicit Gate(StreamHandle stream) {
    submit(stream, [open = open_] {
      while (!open->load()) std::this_thread::sleep_for(milliseconds(1));
    });
  }
  ~Gate() { open(); }
  void open() { open_->store(true); }

 private:
  std::shared_ptr<std::atomic<bool>> open_ = std::make_shared<std::atomic<bool>>(false);
};

// Exit status of `body` in a forked child; 255 when it had to be killed or crashed.
template <typename Body>
int status_of_child(Body body) {
  const pid_t child = fork();
  if (child == 0) std::exit(body());
  int status = 0;
  for (int i = 0; i < 1000; ++i) {
    if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
    std::this_thread::sleep_for(milliseconds(10));
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return 255;
}

bool test_parsing() {
  using refchip::parse_cards;
  using refchip::parse_memory;
  CHECK(parse_cards("0") == 0 && parse_cards("7") == 7);
  CHECK(parse_memory("2G") == size_t{2} << 30 && parse_memory("64m") == kMemory && parse_memory("2048K") == 2u << 20);
  for (const char* bad : {"", "-1", "two", "1.5", " 1", "1 ", "65", "99999999999999999999"})
    CHECK(
        has(message_of<adapter::InvalidArgument>([&] { parse_cards(bad); }), "REFCHIP_CARDS is \"" + std::string(bad)));
  for (const char* bad : {"", "G", "4T", "4GB", "-4G", "0", "1K", "1.5G", "17179869184G", "99999999999999999999999"})
    CHECK(has(message_of<adapter::InvalidArgument>([&] { parse_memory(bad); }),
              "REFCHIP_MEMORY is \"" + std::string(bad)));
  return true;
}

// What another environment makes of the machine; it has to be asked for in processes of its own.
bool test_environment() {
  const auto ask = [](const char* cards, const char* memory) {
    return status_of_child([=] {
      setenv("REFCHIP_CARDS", cards, 1);
      setenv("REFCHIP_MEMORY", memory, 1);
      try {
        return device().card_count();
      } catch (const adapter::InvalidArgument&) {
        return 99;
      }
    });
  };
  CHECK(ask("0", "1G") == 0);
  CHECK(ask("5", "1G") == 5);
  CHECK(ask("x", "1G") == 99);
  CHECK(ask("2", "lots") == 99);
  return true;
}

bool test_machine() {
  CHECK(device().card_count() == 2);
  CHECK(device().memory_bytes(1) == kMemory);
  CHECK(has(message_of<adapter::InvalidArgument>([] { device().memory_bytes(2); }), "refchip:2 does not exist"));
  CHECK(has(message_of<adapter::InvalidArgument>([] { device().allocate(-1, 8); }), "refchip:-1 does not exist"));
  CHECK(std::string(adapter::plugin_info().device_type) == "refchip");
  CHECK(adapter::plugin_info().peaks.size() == 2);
  return true;
}

struct Counted {
  explicit Counted(int& live) : count(&live) { ++*count; }
  Counted(const Counted& other) : count(other.count) { ++*count; }
  Counted(Counted&& other) noexcept : count(other.count) { ++*count; }
  ~Counted() { --*count; }
  int* count;
};

bool test_task() {
  int live = 0;
  int calls = 0;
  {
    struct Large {
      unsigned char data[Task::kInlineBytes + 1];
    };
    static_assert(!Task::fits_inline<Large> && Task::fits_inline<Counted>);
    Task small([counted = Counted(live), &calls] { ++calls; });
    Task large([counted = Counted(live), big = Large{}, &calls] { calls += 10 + big.data[0]; });
    Task unique([value = std::make_unique<int>(100), &calls] { calls += *value; });
    CHECK(live == 2);
    Task moved = std::move(small);
    CHECK(!small && moved && live == 2);
    moved();
    large();
    unique();
    CHECK(calls == 111);
    moved = std::move(large);
    CHECK(live == 1);
    moved();
    moved.reset();
    CHECK(!moved && live == 0);
  }
  CHECK(live == 0 && calls == 121);
  return true;
}

bool test_addresses() {
  const size_t before = device().allocated_bytes(0);
  {
    const Memory one(1), many(1000);
    for (const Memory* each : {&one, &many}) CHECK(reinterpret_cast<uintptr_t>(each->address) % 256 == 0);
    CHECK(device().allocated_bytes(0) == before + 1001);
    CHECK(device().memory_stats(0).total == kMemory);
    int here = 0;
    CHECK(alias(&here) == &here && alias(nullptr) == nullptr);
    CHECK(alias(one.address) != one.address);
    CHECK(bytes_at(many.address) + 999 == alias(static_cast<char*>(many.address) + 999));
  }
  CHECK(device().allocated_bytes(0) == before);
  return true;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

bool test_host_faults() {
  if (kSanitized) return true;  // sanitizers take the signal
  static sigjmp_buf back;
  struct sigaction handler{};
  struct sigaction previous{};
  handler.sa_handler = [](int) { siglongjmp(back, 1); };
  sigaction(SIGSEGV, &handler, &previous);
  const Memory memory(64);
  volatile int faults = 0;
  if (sigsetjmp(back, 1) == 0)
    static_cast<void>(*static_cast<volatile char*>(memory.address));
  else
    faults = faults + 1;
  if (sigsetjmp(back, 1) == 0)
    *static_cast<volatile char*>(memory.address) = 1;
  else
    faults = faults + 1;
  sigaction(SIGSEGV, &previous, nullptr);
  CHECK(faults == 2);
  return true;
}

bool test_out_of_memory() {
  const size_t free = device().memory_stats(0).free;
  const std::string message = message_of<adapter::OutOfMemory>([&] { device().allocate(0, free + 1); });
  CHECK(has(message, "requested " + std::to_string(free + 1)) && has(message, "free " + std::to_string(free)) &&
        has(message, "of " + std::to_string(kMemory)));
  CHECK(has(message_of<adapter::OutOfMemory>([] { device().allocate(0, SIZE_MAX); }), "refchip:0"));
  {
    const Memory all(free);
  }  // guards do not count
  CHECK(device().memory_stats(0).free == free);
  CHECK(!message_of<adapter::InvalidArgument>([] { device().allocate(0, 0); }).empty());
  return true;
}

bool test_bad_frees() {
  const auto free_message = [](int card, void* address) {
    return message_of<adapter::DeviceError>([=] { device().deallocate(card, address, 8); });
  };
  void* address = device().allocate(0, 1024);
  int here = 0;
  CHECK(has(free_message(0, &here), "no device address"));
  CHECK(has(free_message(0, nullptr), "no device address"));
  CHECK(has(free_message(1, address), "belongs to refchip:0"));
  CHECK(has(free_message(0, static_cast<char*>(address) + 256), "256 bytes inside"));
  CHECK(free_message(0, address).empty());
  CHECK(has(free_message(0, address), "freed before"));
  return true;
}

bool test_guards() {
  const size_t bytes = 1000;
  void* address = device().allocate(0, bytes);
  device().synchronize(0);
  bytes_at(address)[bytes] ^= 1;  // the first byte behind
  std::string message = message_of<adapter::DeviceError>([] { device().synchronize(0); });
  CHECK(has(message, "behind an allocation of 1000 bytes on refchip:0") &&
        has(message, "1 guard byte(s) from offset 1000 "));
  device().synchronize(0);  // reported once
  std::memset(bytes_at(address) - 4, 0, 4);
  device().deallocate(0, address, bytes);
  message = message_of<adapter::DeviceError>([] { device().synchronize(0); });
  CHECK(has(message, "before an allocation of 1000 bytes") && has(message, "from offset -4 "));
  device().synchronize(0);
  return true;
}

// Random sizes and lifetimes: contents stay apart, and everything merges back into one piece.
bool test_coalescing() {
  const size_t free = device().memory_stats(1).free;
  uint32_t random = 12345;
  const auto next = [&](uint32_t below) { return (random = random * 1664525 + 1013904223) / 65536 % below; };
  struct Held {
    unsigned char* host;
    void* address;
    size_t bytes;
    unsigned char tag;
  };
  std::vector<Held> held;
  for (int i = 0; i < 2000; ++i) {
    if (held.size() < 50 || next(2) == 0) {
      const size_t bytes = 1 + next(next(10) == 0 ? 300000 : 2000);
      void* address = device().allocate(1, bytes);
      held.push_back({bytes_at(address), address, bytes, static_cast<unsigned char>(i)});
      std::memset(held.back().host, held.back().tag, bytes);
    } else {
      std::swap(held[next(static_cast<uint32_t>(held.size()))], held.back());
      const Held& last = held.back();
      CHECK(std::all_of(last.host, last.host + last.bytes, [&](unsigned char c) { return c == last.tag; }));
      device().deallocate(1, last.address, last.bytes);
      held.pop_back();
    }
  }
  device().synchronize(1);
  for (const Held& each : held) device().deallocate(1, each.address, each.bytes);
  CHECK(device().memory_stats(1).free == free);
  const Memory all(free, 1);
  return true;
}

size_t resident_pages(void* address, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(alias(address)) / 4096 * 4096;
  std::vector<unsigned char> pages(bytes / 4096);
  if (mincore(reinterpret_cast<void*>(begin), bytes, pages.data()) != 0) return SIZE_MAX;
  return static_cast<size_t>(std::count_if(pages.begin(), pages.end(), [](unsigned char p) { return p & 1; }));
}

bool test_pages_are_returned() {
  const size_t bytes = size_t{8} << 20;
  void* address = device().allocate(0, bytes);
  CHECK(resident_pages(address, bytes) <= 2);
  device().fill(0, address, 7, bytes);
  CHECK(resident_pages(address, bytes) >= bytes / 4096 - 1);
  device().deallocate(0, address, bytes);
  CHECK(resident_pages(address, bytes) <= 2);
  return true;
}

bool test_copies() {
  const OwnStream stream;
  for (const size_t bytes : {size_t{1}, size_t{448}, size_t{449}, size_t{100000}, size_t{3} << 20}) {
    const Memory a(bytes), b(bytes);
    std::vector<unsigned char> source(bytes), target(bytes);
    for (size_t i = 0; i < bytes; ++i) source[i] = static_cast<unsigned char>(i * 7 + 1);
    const std::vector<unsigned char> expected = source;
    device().copy(0, h2d, a.address, source.data(), bytes);
    device().copy(0, d2d, b.address, a.address, bytes);
    device().copy(0, d2h, target.data(), b.address, bytes);
    CHECK(target == expected);
    device().fill(0, a.address, 0, bytes);
    std::fill(target.begin(), target.end(), 0);
    {
      Gate gate(stream.handle);
      if (bytes > size_t{1} << 20) gate.open();  // large sources are not staged: that call waits
      device().copy_async(0, stream.handle, h2d, a.address, source.data(), bytes);
      std::fill(source.begin(), source.end(), 0xEE);
    }
    device().copy_async(0, stream.handle, d2d, b.address, a.address, bytes);
    device().copy_async(0, stream.handle, d2h, target.data(), b.address, bytes);
    CHECK(target == expected);  // without synchronising
  }
  device().copy(0, d2h, nullptr, nullptr, 0);
  return true;
}

bool test_copy_bounds() {
  const Memory a(100), b(100);
  const OwnStream stream;
  char host[512] = {};
  const auto copy = [&](CopyKind kind, void* dst, const void* src, size_t bytes) {
    const std::string later =
        message_of<adapter::DeviceError>([&] { device().copy_async(0, stream.handle, kind, dst, src, bytes); });
    const std::string now = message_of<adapter::DeviceError>([&] { device().copy(0, kind, dst, src, bytes); });
    return now == later ? now : "copy and copy_async differ";
  };
  CHECK(copy(h2d, a.address, host, 100).empty());
  CHECK(has(copy(h2d, a.address, host, 101), "target of a copy, 101 bytes"));
  CHECK(has(copy(h2d, static_cast<char*>(a.address) + 60, host, 50), "leaves its allocation of 100 bytes"));
  CHECK(has(copy(d2h, host, static_cast<char*>(a.address) - 1, 1), "does not lie in memory allocated"));
  CHECK(has(copy(d2d, a.address, host, 8), "it is no device address"));
  CHECK(has(copy(d2h, a.address, b.address, 8), "the host side of a copy"));
  CHECK(has(copy(h2d, a.address, b.address, 8), "the host side of a copy"));
  CHECK(has(message_of<adapter::DeviceError>([&] { device().copy(1, d2h, host, a.address, 8); }), "another card's"));
  CHECK(has(message_of<adapter::DeviceError>([&] { device().fill(0, a.address, 1, 101); }), "leaves its allocation"));
  return true;
}

bool test_order_and_full_ring() {
  const OwnStream stream;
  const int n = 5000;
  std::vector<int> seen;
  std::thread opener;
  {
    Gate gate(stream.handle);
    opener = std::thread([&] {
      std::this_thread::sleep_for(milliseconds(30));
      gate.open();
    });
    for (int i = 0; i < n; ++i)
      submit(stream.handle, [&seen, i] { seen.push_back(i); });  // blocks when the ring is full
    opener.join();
  }
  device().synchronize_stream(0, stream.handle);
  CHECK(seen.size() == static_cast<size_t>(n) && std::is_sorted(seen.begin(), seen.end()));
  return true;
}

bool test_many_producers() {
  const OwnStream stream;
  constexpr int kThreads = 4;
  const int n = kSanitized ? 3000 : 20000;
  std::vector<int> last(kThreads, -1);
  bool ordered = true;
  std::vector<std::thread> producers;
  for (int t = 0; t < kThreads; ++t)
    producers.emplace_back([&, t] {
      for (int i = 0; i < n; ++i) {
        submit(stream.handle, [&, t, i] {
          ordered = ordered && last[static_cast<size_t>(t)] == i - 1;
          last[static_cast<size_t>(t)] = i;
        });
        if (i % 500 == 0) device().synchronize_stream(0, stream.handle);
      }
    });
  for (std::thread& producer : producers) producer.join();
  device().synchronize(0);
  CHECK(ordered);
  for (const int value : last) CHECK(value == n - 1);
  return true;
}

// Again and again to the edge of falling asleep: a lost wake-up would hang here.
bool test_sleep_and_wake() {
  const OwnStream stream;
  std::atomic<int> done{0};
  for (int i = 0; i < 2000; ++i) {
    submit(stream.handle, [&] { ++done; });
    if (i % 2 == 0) device().synchronize_stream(0, stream.handle);
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(i % 140);
    while (std::chrono::steady_clock::now() < until) {
    }
  }
  device().synchronize_stream(0, stream.handle);
  CHECK(done == 2000);
  return true;
}

bool test_asynchrony() {
  const OwnStream a, b;
  Gate gate(a.handle);
  std::atomic<bool> ran{false};
  submit(b.handle, [&] { ran = true; });
  device().synchronize_stream(0, b.handle);  // not held up by the other stream
  CHECK(ran && !device().stream_done(0, a.handle) && device().stream_done(0, b.handle));
  gate.open();
  device().synchronize(0);
  CHECK(device().stream_done(0, a.handle));
  return true;
}

bool test_synchronous_copy_waits_for_all_streams() {
  const OwnStream a, b;
  const Memory memory(8);
  device().fill(0, memory.address, 0, 8);
  unsigned char* const target = bytes_at(memory.address);
  for (const OwnStream* stream : {&a, &b})
    submit(stream->handle, [first = stream == &a, target] {
      std::this_thread::sleep_for(milliseconds(30));
      target[first ? 0 : 1] = 1;
    });
  unsigned char host[2] = {};
  device().copy(0, d2h, host, memory.address, 2);
  CHECK(host[0] == 1 && host[1] == 1);
  return true;
}

bool test_errors() {
  const OwnStream a, b;
  int after = 0;
  submit(a.handle, [] { throw std::runtime_error("first"); });
  submit(a.handle, [] { throw 7; });
  submit(a.handle, [&] { ++after; });
  device().synchronize_stream(0, b.handle);
  const std::string message = message_of<adapter::DeviceError>([&] { device().synchronize_stream(0, a.handle); });
  CHECK(has(message, "of refchip:0: first") && has(message, "stream "));
  CHECK(after == 1);
  device().synchronize_stream(0, a.handle);
  submit(b.handle, [] { throw 7; });
  CHECK(has(message_of<adapter::DeviceError>([] { device().synchronize(0); }), "no std::exception"));
  device().synchronize(0);
  const Memory memory(8);
  char host[8];
  submit(a.handle, [] { throw std::runtime_error("before a copy"); });
  CHECK(
      has(message_of<adapter::DeviceError>([&] { device().copy(0, d2h, host, memory.address, 8); }), "before a copy"));
  submit(a.handle, [] { throw std::runtime_error("before an async copy"); });
  CHECK(has(message_of<adapter::DeviceError>([&] { device().copy_async(0, a.handle, d2h, host, memory.address, 8); }),
            "before an async copy"));
  {
    const OwnStream gone;
    submit(gone.handle, [] { throw std::runtime_error("left behind"); });
  }
  CHECK(has(message_of<adapter::DeviceError>([] { device().synchronize(0); }), "left behind"));
  device().synchronize(0);
  return true;
}

bool test_events() {
  const OwnStream a, b;
  EventHandle event = device().create_event(0);
  CHECK(device().event_done(0, event));
  device().synchronize_event(0, event);
  int value = 0;
  {
    Gate gate(a.handle);
    submit(a.handle, [&] { value = 1; });
    device().record_event(0, a.handle, event);
    CHECK(!device().event_done(0, event));
    device().wait_event(0, a.handle, event);  // its own stream: nothing to wait for
  }
  Gate later(a.handle);
  device().synchronize_event(0, event);  // not held up by what came after the record
  CHECK(device().event_done(0, event) && value == 1 && !device().stream_done(0, a.handle));
  later.open();
  device().synchronize(0);

  std::atomic<int> step{0};
  bool in_order = false;
  {
    Gate gate(a.handle);
    submit(a.handle, [&] { step = 1; });
    device().record_event(0, a.handle, event);
    device().wait_event(0, b.handle, event);
    submit(b.handle, [&] { in_order = step == 1; });
    device().destroy_event(0, event);  // busy
    std::this_thread::sleep_for(milliseconds(5));
    CHECK(!device().stream_done(0, b.handle));
  }
  device().synchronize(0);
  CHECK(in_order);
  return true;
}

// Two streams that wait for each other again and again, across cards.
bool test_ping_pong() {
  const OwnStream a(0), b(1);
  EventHandle events[2] = {device().create_event(0), device().create_event(1)};
  int value = 0;
  bool ordered = true;
  for (int i = 0; i < 1000; ++i) {
    const OwnStream& from = i % 2 == 0 ? a : b;
    const OwnStream& to = i % 2 == 0 ? b : a;
    submit(from.handle, [&, i] {
      ordered = ordered && value == i;
      value = i + 1;
    });
    device().record_event(from.card, from.handle, events[i % 2]);
    device().wait_event(to.card, to.handle, events[i % 2]);
  }
  device().synchronize(0);
  device().synchronize(1);
  CHECK(ordered && value == 1000);
  for (EventHandle event : events) device().destroy_event(0, event);
  return true;
}

bool test_destroying_a_busy_stream() {
  std::atomic<int> ran{0};
  EventHandle event = device().create_event(0);
  const OwnStream other;
  {
    const OwnStream stream;
    for (int i = 0; i < 10; ++i)
      submit(stream.handle, [&] {
        std::this_thread::sleep_for(milliseconds(1));
        ++ran;
      });
    device().record_event(0, stream.handle, event);
    device().wait_event(0, other.handle, event);
  }
  CHECK(ran == 10 && device().event_done(0, event));
  device().synchronize_event(0, event);
  device().synchronize(0);
  device().destroy_event(0, event);
  int here = 0;
  CHECK(has(message_of<adapter::DeviceError>([&] { device().synchronize_stream(0, &here); }), "no such stream"));
  return true;
}

bool test_callbacks() {
  const OwnStream stream;
  std::vector<int> seen;
  for (int i = 0; i < 100; ++i) {
    submit(stream.handle, [&seen, i] { seen.push_back(2 * i); });
    device().add_callback(0, stream.handle, [&seen, i] { seen.push_back(2 * i + 1); });
  }
  device().synchronize_stream(0, stream.handle);
  CHECK(seen.size() == 200 && std::is_sorted(seen.begin(), seen.end()));
  device().add_callback(0, stream.handle, [&] {
    submit(stream.handle, [] {});
    device().synchronize_stream(0, stream.handle);
  });
  CHECK(has(message_of<adapter::DeviceError>([&] { device().synchronize_stream(0, stream.handle); }), "cannot wait"));
  device().synchronize_stream(0, stream.handle);
  return true;
}

bool test_peer_copies() {
  const OwnStream a(0), b(1);
  const Memory from(64, 0), to(64, 1);
  unsigned char host[64];
  for (int i = 1; i <= 50; ++i) {
    const auto value = static_cast<unsigned char>(i);
    // Produced on card 0, copied on a stream of either card, overwritten and read afterwards.
    submit(a.handle, [&, value] {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      std::memset(alias(from.address), value, 64);
    });
    device().copy_peer_async(1, 0, i % 2 == 0 ? a.handle : b.handle, to.address, from.address, 64);
    submit(a.handle, [&] { std::memset(alias(from.address), 0, 64); });
    device().copy_async(1, b.handle, d2h, host, to.address, 64);
    CHECK(std::all_of(host, host + 64, [=](unsigned char c) { return c == value; }));
  }
  submit(a.handle, [&] { std::memset(alias(from.address), 77, 64); });
  device().copy_peer(1, 0, to.address, from.address, 64);
  device().copy(1, d2h, host, to.address, 64);
  CHECK(host[0] == 77 && host[63] == 77);
  CHECK(has(message_of<adapter::DeviceError>([&] { device().copy_peer(0, 1, to.address, from.address, 64); }),
            "another card's"));
  return true;
}

bool test_deallocation_waits() {
  const OwnStream stream;
  std::atomic<bool> finished{false};
  void* address = device().allocate(0, 64);
  submit(stream.handle, [&, address] {
    std::this_thread::sleep_for(milliseconds(20));
    std::memset(alias(address), 1, 64);
    finished = true;
  });
  device().deallocate(0, address, 64);
  CHECK(finished);
  return true;
}

bool test_concurrent_use() {
  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (int t = 0; t < 3; ++t)
    users.emplace_back([&, t] {
      const int card = t % 2;
      const OwnStream stream(card);
      for (int i = 0; i < 100; ++i) {
        const Memory memory(200, card);
        const int value = t * 1000 + i;
        int back = 0;
        device().copy_async(card, stream.handle, h2d, memory.address, &value, sizeof value);
        submit(stream.handle, [&] { ++*static_cast<int*>(alias(memory.address)); });
        device().copy_async(card, stream.handle, d2h, &back, memory.address, sizeof back);
        if (back != value + 1) ++wrong;
      }
    });
  for (std::thread& user : users) user.join();
  CHECK(wrong == 0);
  return true;
}

bool test_fork() {
#if defined(__SANITIZE_THREAD__)
  return true;  // does not support forking with threads
#endif
  const OwnStream stream;
  const Memory memory(64);
  EventHandle event = device().create_event(0);
  device().record_event(0, stream.handle, event);
  submit(stream.handle, [] {});
  const int status = status_of_child([&] {
    const auto refused = [](auto call) { return has(message_of<adapter::DeviceError>(call), "forked"); };
    char host[64];
    bool good = refused([&] { submit(stream.handle, [] {}); });
    good &= refused([] { device().allocate(0, 8); });
    good &= refused([] { device().create_stream(0); });
    good &= refused([] { device().synchronize(0); });
    good &= refused([&] { device().synchronize_stream(0, stream.handle); });
    good &= refused([&] { device().synchronize_event(0, event); });
    good &= refused([&] { device().copy(0, d2h, host, memory.address, 64); });
    good &= device().card_count() == 2;
    device().deallocate(0, memory.address, 64);
    device().destroy_event(0, event);
    device().destroy_stream(0, stream.handle);
    return good ? 0 : 1;
  });
  CHECK(status == 0);
  device().destroy_event(0, event);
  device().synchronize(0);
  return true;
}

// Exiting with work pending, and with work that never ends.
bool test_exit() {
#if defined(__SANITIZE_THREAD__)
  return true;
#endif
  const char* self = "/proc/self/exe";
  for (const char* mode : {"--exit-busy", "--exit-hanging"}) {
    const pid_t child = fork();
    if (child == 0) {
      execl(self, self, mode, static_cast<char*>(nullptr));
      _exit(98);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
  }
  return true;
}

// The exit status tells whether the work had been finished when exit handlers older than the stream ran.
int exit_busy() {
  static std::atomic<int> done{0};
  std::atexit([] { _exit(done == 50 ? 42 : 1); });
  const StreamHandle stream = device().create_stream(0);
  for (int i = 0; i < 50; ++i)
    submit(stream, [] {
      std::this_thread::sleep_for(milliseconds(1));
      ++done;
    });
  return 0;
}

int exit_hanging() {
  submit(device().create_stream(0), [] {
    for (;;) std::this_thread::sleep_for(milliseconds(100));
  });
  return 42;
}

using Clock = std::chrono::steady_clock;

// Nanoseconds that one call takes, over so many calls.
template <typename Call>
double nanoseconds_each(int calls, Call call) {
  const auto start = Clock::now();
  for (int i = 0; i < calls; ++i) call();
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / calls;
}

// Median of so many figures: the disturbances of a shared machine fall outside.
template <typename Figure>
double median(int count, Figure figure) {
  std::vector<double> figures;
  for (int i = 0; i < count; ++i) figures.push_back(figure());
  std::nth_element(figures.begin(), figures.begin() + count / 2, figures.end());
  return figures[static_cast<size_t>(count / 2)];
}

// About two microseconds, with atomic operations as in counting references: in the place of Paddle between two kernels.
[[gnu::noinline]] void operator_overhead() {
  static std::atomic<uint32_t> references{0};
  uint32_t chain = references.load();
  for (int i = 0; i < 20; ++i) {
    for (int k = 0; k < 60; ++k) chain = chain * 1664525 + 1013904223;
    references.fetch_add(chain);
  }
}

// What submit() costs its caller when calls come at the pace of eager operators, and at other paces.
int bench() {
  struct Kernel {  // as large as three tensors and some attributes
    unsigned char state[352];
    std::atomic<int>* done;
    void operator()() { done->fetch_add(1, std::memory_order_relaxed); }
  };
  static_assert(Task::fits_inline<Kernel>);
  const StreamHandle stream = device().create_stream(0);
  const auto finish = [&] { device().synchronize_stream(0, stream); };
  std::atomic<int> done{0};
  Kernel kernel{{}, &done};
  const auto inline_call = [&] { operator_overhead(), kernel(); };
  const auto submit_call = [&] { operator_overhead(), submit(stream, kernel); };
  for (int round = 0; round < 3; ++round) {
    const double base = median(200, [&] { return nanoseconds_each(100, inline_call); });
    finish();
    const double added = median(1000, [&] {  // paired, since the processor's frequency wanders
      const double with_submit = nanoseconds_each(20, submit_call);
      finish();
      return with_submit - nanoseconds_each(20, inline_call);
    });
    const double burst = median(400, [&] { return nanoseconds_each(100, [&] { submit(stream, kernel); }); });
    finish();
    const double both = median(400, [&] { return nanoseconds_each(20, [&] { submit(stream, kernel), finish(); }); });
    const double to_sleeper = median(300, [&] {
      std::this_thread::sleep_for(milliseconds(1));
      return nanoseconds_each(1, [&] { submit(stream, kernel); });
    });
    std::printf(
        "operator with inline kernel %.0f ns; submit adds %.0f ns; in bursts of 100 it takes %.0f, with "
        "synchronisation "
        "%.0f, to a sleeping worker %.0f\n",
        base, added, burst, both, to_sleeper);
  }
  device().destroy_stream(0, stream);
  return 0;
}

struct Test {
  const char* name;
  bool (*run)();
};
#define TEST(name) {#name, test_##name}
constexpr Test kTests[] = {
    TEST(parsing),
    TEST(environment),
    TEST(machine),
    TEST(task),
    TEST(addresses),
    TEST(host_faults),
    TEST(out_of_memory),
    TEST(bad_frees),
    TEST(guards),
    TEST(coalescing),
    TEST(pages_are_returned),
    TEST(copies),
    TEST(copy_bounds),
    TEST(order_and_full_ring),
    TEST(many_producers),
    TEST(sleep_and_wake),
    TEST(asynchrony),
    TEST(synchronous_copy_waits_for_all_streams),
    TEST(errors),
    TEST(events),
    TEST(ping_pong),
    TEST(destroying_a_busy_stream),
    TEST(callbacks),
    TEST(peer_copies),
    TEST(deallocation_waits),
    TEST(concurrent_use),
    TEST(fork),
    TEST(exit),
};

int run_tests(const std::string& only) {
  int ran = 0;
  int failed = 0;
  for (const Test& test : kTests) {
    if (!only.empty() && only != test.name) continue;
    ++ran;
    bool good = false;
    try {
      good = test.run();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "unexpected exception: %s\n", error.what());
    }
    std::printf("%s %s\n", good ? "ok  " : "FAIL", test.name);
    std::fflush(stdout);
    failed += !good;
  }
  std::printf("%d run, %d failed\n", ran, failed);
  return ran > 0 && failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  setenv("REFCHIP_CARDS", "2", 1);
  setenv("REFCHIP_MEMORY", "64M", 1);
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "--bench") return bench();
  if (mode == "--exit-busy") return exit_busy();
  if (mode == "--exit-hanging") return exit_hanging();
  return run_tests(mode);
}
