// Drives the communicator without Paddle: forks RANKS processes and runs SCENARIO in each.
//
//   ranks RANKS SCENARIO    exit code 0 when every rank did what the scenario says; what went wrong is on stderr
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "adapter_sdk/half.h"
#include "collectives/communicator.h"

using namespace adapter;
using namespace adapter::collectives;

namespace {

using Pipes = std::vector<std::array<int, 2>>;

struct World {
  size_t rank, ranks;
  Pipes pipes;  // rank 0 writes ids into the pipe of each other rank

  UniqueId share_id() const {
    UniqueId id;
    if (rank == 0) {
      id = make_unique_id(options_from_environment());
      for (size_t i = 1; i < ranks; ++i)
        if (write(pipes[i][1], &id, sizeof id) != sizeof id) throw std::runtime_error("write");
    } else if (read(pipes[rank][0], &id, sizeof id) != sizeof id) {
      throw std::runtime_error("read");
    }
    return id;
  }
  bool tcp() const { return options_from_environment().transport == Transport::tcp; }
  Communicator join(const SharedMemory& memory = {}) const {
    return Communicator(share_id(), rank, ranks, options_from_environment(), memory);
  }
};

void require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

// A value that differs by rank and element and is small enough for every dtype and every sum of eight ranks.
int value(size_t rank, size_t i) { return static_cast<int>((rank * 5 + i * 3 + i / 7) % 13) + 1; }

template <typename T>
std::vector<T> data_of(size_t rank, size_t count, size_t offset = 0) {
  std::vector<T> data(count);
  for (size_t i = 0; i < count; ++i) data[i] = static_cast<T>(static_cast<float>(value(rank, i + offset)));
  return data;
}

double expected(ReduceOp op, size_t ranks, size_t i) {
  double result = value(0, i);
  for (size_t r = 1; r < ranks; ++r) {
    const double next = value(r, i);
    if (op == ReduceOp::sum || op == ReduceOp::average) result += next;
    if (op == ReduceOp::product) result *= next;
    if (op == ReduceOp::maximum) result = std::max(result, next);
    if (op == ReduceOp::minimum) result = std::min(result, next);
  }
  return op == ReduceOp::average ? result / static_cast<double>(ranks) : result;
}

template <typename T>
T stored(double wide) {
  // Integers wrap and cut off, half types are rounded once from float32: as the communicator promises.
  if constexpr (std::is_integral_v<T>) return static_cast<T>(static_cast<int64_t>(wide));
  if constexpr (std::is_same_v<T, double>) return wide;
  return static_cast<T>(static_cast<float>(wide));
}

template <typename T>
void check_reductions(Communicator& group, size_t count) {
  const size_t n = group.ranks(), me = group.rank();
  const DType dtype = dtype_of<T>;
  for (int number = 0; number < 5; ++number) {
    const auto op = static_cast<ReduceOp>(number);
    if (is_half<T> && op == ReduceOp::product) continue;  // 13^4 does not fit
    const std::string what = std::string(name_of(dtype)) + " " + name_of(op) + " of " + std::to_string(count);
    const auto same = [&](const T* got, size_t offset, size_t size, const char* call) {
      for (size_t i = 0; i < size; ++i) {
        const T want = stored<T>(expected(op, n, offset + i));
        require(std::memcmp(&got[i], &want, sizeof want) == 0,
                std::string(call) + " " + what + " is wrong at " + std::to_string(i));
      }
    };
    const std::vector<T> send = data_of<T>(me, count);
    std::vector<T> recv(count + 1);
    group.all_reduce(send.data(), recv.data(), count, dtype, op);
    same(recv.data(), 0, count, "all_reduce");
    std::vector<T> place = send;
    group.all_reduce(place.data(), place.data(), count, dtype, op);
    same(place.data(), 0, count, "all_reduce in place");
    const size_t root = count % n;
    place = send;
    group.reduce(place.data(), place.data(), count, dtype, op, root);
    if (me == root) same(place.data(), 0, count, "reduce");
    if (me != root) require(place == send, "reduce changed what another rank sends");
    const std::vector<T> wide = data_of<T>(me, count * n);
    group.reduce_scatter(wide.data(), recv.data(), count, dtype, op);
    same(recv.data(), me * count, count, "reduce_scatter");
  }
}

void check_movement(Communicator& group, size_t count) {
  const size_t n = group.ranks(), me = group.rank();
  const DType dtype = DType::int32;
  const auto own = data_of<int32_t>(me, count);
  std::vector<int32_t> all(count * n), want;
  for (size_t r = 0; r < n; ++r) {
    const auto part = data_of<int32_t>(r, count);
    want.insert(want.end(), part.begin(), part.end());
  }
  group.all_gather(own.data(), all.data(), count, dtype);
  require(all == want, "all_gather");
  for (size_t root = 0; root < n; ++root) {
    std::vector<int32_t> data = own;
    group.broadcast(data.data(), count, dtype, root);
    require(data == data_of<int32_t>(root, count), "broadcast");
  }
  // Rank a sends (a + 2b) % 5 * count / 4 elements to rank b.
  const auto size = [&](size_t a, size_t b) { return (a + 2 * b) % 5 * count / 4; };
  std::vector<std::vector<int32_t>> out(n), in(n);
  std::vector<Communicator::Part> send(n), recv(n);
  for (size_t r = 0; r < n; ++r) {
    out[r] = data_of<int32_t>(me, size(me, r), 17 * r);
    in[r].resize(size(r, me));
    send[r] = {out[r].data(), out[r].size() * 4};
    recv[r] = {in[r].data(), in[r].size() * 4};
  }
  group.all_to_all(send, recv);
  for (size_t r = 0; r < n; ++r) require(in[r] == data_of<int32_t>(r, size(r, me), 17 * me), "all_to_all");
  // Everybody to everybody at once, twice: would deadlock one by one.
  std::vector<Communicator::Transfer> transfers;
  std::vector<std::vector<int32_t>> got(2 * n, std::vector<int32_t>(count));
  const auto again = data_of<int32_t>(me, count, 3);
  for (size_t r = 0; r < n; ++r) {
    transfers.push_back({true, const_cast<int32_t*>(own.data()), count, dtype, r});
    transfers.push_back({true, const_cast<int32_t*>(again.data()), count, dtype, r});
    transfers.push_back({false, got[2 * r].data(), count, dtype, r});
    transfers.push_back({false, got[2 * r + 1].data(), count, dtype, r});
  }
  group.transfer(transfers);
  for (size_t r = 0; r < n; ++r) {
    require(got[2 * r] == data_of<int32_t>(r, count), "first of a group");
    require(got[2 * r + 1] == data_of<int32_t>(r, count, 3), "second of a group");
  }
  group.barrier();
}

void right(const World& world) {
  Communicator group = world.join();
  const char* const wanted = std::getenv("WANTED_TRANSPORT");
  if (wanted != nullptr && world.ranks > 1)
    require(group.transport() == wanted, "the transport is " + group.transport());
  for (const size_t count : {0, 1, 3, 1021, 4096, 70001}) {
    check_reductions<float>(group, count);
    check_movement(group, count);
  }
  for (const size_t count : {1, 1021, 9001}) {
    check_reductions<float16>(group, count);
    check_reductions<bfloat16>(group, count);
    check_reductions<double>(group, count);
    check_reductions<int8_t>(group, count);
    check_reductions<uint8_t>(group, count);
    check_reductions<int16_t>(group, count);
    check_reductions<int32_t>(group, count);
    check_reductions<int64_t>(group, count);
  }
}

// A half type that were rounded after every addition would lose the small parts.
void single_rounding(const World& world) {
  Communicator group = world.join();
  const float16 part = world.rank == 0 ? 2048.0f : 0.75f;  // at 2048 the spacing is 2
  std::vector<float16> data(9000, part);
  group.all_reduce(data.data(), data.data(), data.size(), DType::float16, ReduceOp::sum);
  const float16 want = 2048.0f + 0.75f * static_cast<float>(world.ranks - 1);
  for (const float16 got : data) require(got.bits == want.bits, "summed to " + std::to_string(static_cast<float>(got)));
}

void many_communicators(const World& world) {
  Communicator first = world.join(), second = world.join();
  const auto work = [&](Communicator& group) {
    for (int i = 0; i < 20; ++i) check_reductions<float>(group, 5003);
  };
  std::thread other([&] { work(second); });
  work(first);
  other.join();
}

// Everybody sends to the next and then receives, which waits for ever unless the send can be left behind.
void send_first(const World& world) {
  Communicator group = world.join();
  const size_t count = 1000003, next = (world.rank + 1) % world.ranks,
               before = (world.rank + world.ranks - 1) % world.ranks;
  for (size_t turn = 0; turn < 3; ++turn) {
    std::vector<int32_t> own = data_of<int32_t>(world.rank, count, turn), got(count);
    group.transfer({{true, own.data(), count, DType::int32, next}});
    std::fill(own.begin(), own.end(), 0);  // left behind means copied
    group.transfer({{false, got.data(), count, DType::int32, before}});
    require(got == data_of<int32_t>(before, count, turn), "a message that was left behind");
  }
  group.barrier();
}

// Large data in memory that the others may read, beside data elsewhere, in place and not.
void read_in_place(const World& world) {
  const size_t bytes = size_t{64} << 20, n = world.ranks, count = 100003;
  const int file = memfd_create("rank", MFD_CLOEXEC);
  require(file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0, "memfd");
  auto* const base = static_cast<std::byte*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
  Communicator group = world.join({file, base, bytes});
  auto* const here = reinterpret_cast<int32_t*>(base + 4096 * world.rank);
  auto* const there = here + (size_t{8} << 20);
  std::vector<int32_t> outside(count * n);
  for (size_t turn = 0; turn < 6; ++turn) {
    const auto own = data_of<int32_t>(world.rank, count * n);
    int32_t* const from = turn % 2 == world.rank % 2 ? here : outside.data();  // some ranks lend, some do not
    int32_t* const to = turn < 3 ? from : there;
    std::copy(own.begin(), own.end(), from);
    group.all_reduce(from, to, count, DType::int32, ReduceOp::sum);
    for (size_t i = 0; i < count; ++i) require(to[i] == expected(ReduceOp::sum, n, i), "all_reduce in place");
    std::copy(own.begin(), own.end(), from);
    group.reduce_scatter(from, there, count, DType::int32, ReduceOp::maximum);
    for (size_t i = 0; i < count; ++i)
      require(there[i] == expected(ReduceOp::maximum, n, world.rank * count + i), "reduce_scatter");
    group.all_gather(from, there, count, DType::int32);
    for (size_t r = 0; r < n; ++r)
      for (size_t i = 0; i < count; ++i) require(there[r * count + i] == value(r, i), "all_gather");
    group.broadcast(from, count, DType::int32, turn % n);
    for (size_t i = 0; i < count; ++i) require(from[i] == value(turn % n, i), "broadcast");
  }
}

// The message of the error that `call` ends with.
std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

void contains(const std::string& text, const std::string& part) {
  require(text.find(part) != std::string::npos, "expected \"" + part + "\" in \"" + text + "\"");
}

void sizes_differ(const World& world) {
  Communicator group = world.join();
  std::vector<float> data(9000);
  const std::string error = error_of(
      [&] { group.all_reduce(data.data(), data.data(), data.size() - world.rank % 2, DType::float32, ReduceOp::sum); });
  contains(error, "9000 float32");
  contains(error, "8999 float32");
  contains(error_of([&] { group.barrier(); }), "lost before");
}

void calls_differ(const World& world) {
  Communicator group = world.join();
  float data[2] = {};
  const std::string error = error_of([&] {
    if (world.rank == 0)
      group.barrier();
    else
      group.broadcast(data, 2, DType::float32, 0);
  });
  contains(error, "the ranks disagree");
}

void death(const World& world) {
  Communicator group = world.join();
  std::vector<float> data(1 << 20);
  group.barrier();
  if (world.rank == 1) raise(SIGKILL);
  contains(error_of([&] {
             for (;;) group.all_reduce(data.data(), data.data(), data.size(), DType::float32, ReduceOp::sum);
           }),
           world.tcp() ? "rank" : "rank 1");  // by TCP, one may first see another survivor give up
}

void silence(const World& world) {  // with ADAPTER_COLLECTIVES_TIMEOUT=1
  Communicator group = world.join();
  if (world.rank == 1) {
    std::this_thread::sleep_for(std::chrono::seconds(6));
    return;
  }
  contains(error_of([&] { group.barrier(); }), "rank 1");
}

void late(const World& world) {
  Communicator group = world.join();
  if (world.rank == 1) std::this_thread::sleep_for(std::chrono::seconds(2));
  check_movement(group, 1000);
}

void absent(const World& world) {  // with ADAPTER_COLLECTIVES_TIMEOUT=1
  const UniqueId id = world.share_id();
  if (world.rank == 1) return;
  contains(error_of([&] { Communicator(id, world.rank, world.ranks, options_from_environment()); }), "1 s");
}

void bandwidth(const World& world) {
  Communicator group = world.join();
  for (size_t bytes = 4096; bytes <= (size_t{64} << 20); bytes *= 4) {
    std::vector<float> data(bytes / 4, 1.0f);
    const int repeat = static_cast<int>(std::clamp<size_t>((size_t{64} << 20) / bytes, 3, 200));
    group.all_reduce(data.data(), data.data(), data.size(), DType::float32, ReduceOp::maximum);
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < repeat; ++i)
      group.all_reduce(data.data(), data.data(), data.size(), DType::float32, ReduceOp::maximum);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / repeat;
    const double ranks = static_cast<double>(world.ranks);
    if (world.rank == 0)
      std::printf("%9zu bytes %10.1f us  busbw %6.2f GB/s\n", bytes, seconds * 1e6,
                  static_cast<double>(bytes) / seconds * 2 * (ranks - 1) / ranks / 1e9);
  }
}

const std::map<std::string, void (*)(const World&)> kScenarios = {
    {"right", right},
    {"single_rounding", single_rounding},
    {"many_communicators", many_communicators},
    {"sizes_differ", sizes_differ},
    {"calls_differ", calls_differ},
    {"death", death},
    {"silence", silence},
    {"late", late},
    {"absent", absent},
    {"bandwidth", bandwidth},
    {"send_first", send_first},
    {"read_in_place", read_in_place},
};

int run_rank(const std::string& scenario, const World& world) {
  try {
    kScenarios.at(scenario)(world);
    std::fflush(stdout);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %zu: %s\n", world.rank, error.what());
    return 1;
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3 || kScenarios.count(arguments[2]) == 0) {
    std::fprintf(stderr, "usage: ranks RANKS SCENARIO\n");
    return 2;
  }
  const size_t ranks = std::strtoul(arguments[1], nullptr, 10);
  const std::string scenario = arguments[2];
  Pipes pipes(ranks);
  for (auto& ends : pipes)
    if (pipe(ends.data()) != 0) return 2;
  std::vector<pid_t> children;
  for (size_t rank = 0; rank < ranks; ++rank) {
    const pid_t child = fork();
    if (child == 0) _exit(run_rank(scenario, {rank, ranks, pipes}));
    children.push_back(child);
  }
  int failures = 0;
  for (size_t rank = 0; rank < ranks; ++rank) {
    int status = 0;
    waitpid(children[rank], &status, 0);
    const bool killed_as_planned = scenario == "death" && rank == 1 && WIFSIGNALED(status);
    if (status != 0 && !killed_as_planned) ++failures;
  }
  return failures == 0 ? 0 : 1;
}
