// How ranks meet. The maker of the id listens; every rank tells it who it is and learns who the others are. Ranks that
// can open one another's memory share a segment, all other pairs connect by TCP.
#include "collectives/mesh.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <utility>

#include "adapter_sdk/error.h"
#include "collectives/socket.h"
#include "collectives/tcp_link.h"

namespace adapter::collectives {
namespace {

constexpr uint64_t kMagic = 0x316c6c6f63414441;  // changes with everything that is exchanged here or on a link
constexpr size_t kMaxAddresses = 8;
constexpr size_t kMaxRanks = 65536;
constexpr std::chrono::seconds kGrace{2};

struct Host {
  uint64_t machine;    // one boot of one kernel
  uint64_t processes;  // namespaces, by inode
  uint64_t network;
  bool operator==(const Host& other) const {
    return machine == other.machine && processes == other.processes && network == other.network;
  }
};

// What the 128 bytes of an id say.
struct Meeting {
  uint64_t magic;
  uint64_t secret;
  uint64_t machine, network;
  uint16_t port;
  uint16_t addresses;
  uint32_t address[kMaxAddresses];
};
static_assert(sizeof(Meeting) <= UniqueId::kBytes);

// What a rank says of itself.
struct Hello {
  uint64_t magic, secret;
  uint64_t rank, ranks;
  Host host;
  int64_t process;
  uint64_t buffer_bytes;
  uint64_t memory_bytes;
  int32_t memory_file;
  uint32_t transport;
  uint16_t port;
  uint16_t addresses;
  uint32_t address[kMaxAddresses];
  char name[64];
};

struct Reply {
  uint32_t refused;
  char reason[508];
};

uint64_t hash(const std::string& text) {  // FNV-1a
  uint64_t value = 0xcbf29ce484222325;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return value;
}

uint64_t inode(const char* path) {
  struct stat status{};
  return stat(path, &status) == 0 ? status.st_ino : 0;
}

Host this_host() {
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  return {hash(boot), inode("/proc/self/ns/pid"), inode("/proc/self/ns/net")};
}

uint16_t copy_addresses(const Options& options, uint32_t* target) {
  const std::vector<uint32_t> found = local_addresses(options.interface);
  const size_t count = std::min(found.size(), kMaxAddresses);
  std::copy_n(found.begin(), count, target);
  return static_cast<uint16_t>(count);
}

std::vector<Endpoint> endpoints(const uint32_t* addresses, size_t count, uint16_t port, bool same_network) {
  if (same_network) return {{htonl(INADDR_LOOPBACK), port}};
  std::vector<Endpoint> all;
  for (size_t i = 0; i < std::min(count, kMaxAddresses); ++i)
    if (addresses[i] != htonl(INADDR_LOOPBACK) || count == 1) all.push_back({addresses[i], port});
  return all;
}

// Listeners of the ids that this process has made and no rank has used yet, by secret.
std::mutex meetings_mutex;
std::map<uint64_t, Socket>& meetings() {
  static auto& map = *new std::map<uint64_t, Socket>;  // outlives exit hooks
  return map;
}

Socket take_meeting(uint64_t secret) {
  const std::lock_guard<std::mutex> lock(meetings_mutex);
  const auto found = meetings().find(secret);
  if (found == meetings().end()) return {};
  Socket socket = std::move(found->second);
  meetings().erase(found);
  return socket;
}

int processors() {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

std::string list(const std::vector<size_t>& ranks) {
  std::string text;
  for (const size_t rank : ranks) text += (text.empty() ? "" : ", ") + std::to_string(rank);
  return text;
}

// The star through which ranks exchange small things until their own links stand.
class Table {
 public:
  virtual ~Table() = default;
  // Every rank gives `bytes` bytes and gets those of all, in order of rank.
  virtual std::vector<std::byte> gather(const void* own, size_t bytes) = 0;

  template <typename T>
  std::vector<T> gather(const T& own) {
    const std::vector<std::byte> raw = gather(&own, sizeof own);
    std::vector<T> all(raw.size() / sizeof(T));
    std::memcpy(all.data(), raw.data(), raw.size());
    return all;
  }
};

class Centre final : public Table {
 public:
  Centre(Socket listener, const Hello& own, Clock::time_point deadline, std::chrono::milliseconds limit)
      : own_(own), deadline_(deadline), others_(own.ranks) {
    size_t missing = own.ranks - 1;
    while (missing > 0) {
      Socket socket = listener.accept(deadline);
      if (!socket) throw DeviceError(absent(limit));
      missing -= admit(std::move(socket));
    }
    tell(Reply{});
  }

  std::vector<std::byte> gather(const void* own, size_t bytes) override {
    std::vector<std::byte> all(bytes * own_.ranks);
    std::memcpy(all.data() + own_.rank * bytes, own, bytes);
    for (size_t i = 0; i < others_.size(); ++i)
      if (others_[i]) others_[i].recv_all(all.data() + i * bytes, bytes, deadline_);
    for (Socket& other : others_)
      if (other) other.send_all(all.data(), all.size(), deadline_);
    return all;
  }

 private:
  // 1 for a rank, 0 for a stranger. Whoever connects and says something else is none of ours.
  size_t admit(Socket socket) {
    Hello hello{};
    try {
      socket.recv_all(&hello, sizeof hello, std::min(deadline_, Clock::now() + std::chrono::seconds(10)));
    } catch (const DeviceError&) {
      return 0;
    }
    if (hello.magic != own_.magic || hello.secret != own_.secret) return 0;
    if (hello.ranks != own_.ranks)
      refuse(std::move(socket), "rank " + std::to_string(hello.rank) + " says that there are " +
                                    std::to_string(hello.ranks) + " ranks, rank " + std::to_string(own_.rank) +
                                    " says " + std::to_string(own_.ranks));
    if (hello.rank >= own_.ranks || hello.rank == own_.rank || others_[hello.rank])
      refuse(std::move(socket),
             "rank " + std::to_string(hello.rank) + " came twice, or is not below " + std::to_string(own_.ranks));
    others_[hello.rank] = std::move(socket);
    return 1;
  }

  [[noreturn]] void refuse(Socket socket, const std::string& why) {
    Reply reply{};
    reply.refused = 1;
    why.copy(reply.reason, sizeof reply.reason - 1);
    socket.send_all(&reply, sizeof reply, deadline_);
    tell(reply);
    throw InvalidArgument("collectives: " + why);
  }

  void tell(const Reply& reply) {
    for (Socket& other : others_)
      if (other) other.send_all(&reply, sizeof reply, deadline_);
  }

  std::string absent(std::chrono::milliseconds limit) {
    std::vector<size_t> missing;
    for (size_t i = 0; i < others_.size(); ++i)
      if (!others_[i] && i != own_.rank) missing.push_back(i);
    const std::string why = "rank(s) " + list(missing) + " of " + std::to_string(own_.ranks) + " did not come within " +
                            describe_timeout(limit) + "; see whether these processes run and use the same group";
    Reply reply{};
    reply.refused = 1;
    why.copy(reply.reason, sizeof reply.reason - 1);
    try {
      deadline_ = Clock::now() + std::chrono::seconds(1);
      tell(reply);
    } catch (const DeviceError&) {  // they learn it when the connection closes
    }
    return "collectives: " + why;
  }

  const Hello own_;
  Clock::time_point deadline_;
  std::vector<Socket> others_;
};

class Spoke final : public Table {
 public:
  Spoke(Socket centre, const Hello& own, Clock::time_point deadline, std::chrono::milliseconds limit)
      : centre_(std::move(centre)), ranks_(own.ranks), deadline_(deadline) {
    centre_.send_all(&own, sizeof own, deadline);
    Reply reply{};
    // The centre, which knows who is missing, gives up first, unless it is itself late.
    try {
      centre_.recv_all(&reply, sizeof reply, deadline + kGrace);
    } catch (const DeviceError& error) {
      throw DeviceError(std::string(error.what()) + "; not all " + std::to_string(own.ranks) + " ranks came within " +
                        describe_timeout(limit) + ", or the one that made the communicator's id has ended");
    }
    if (reply.refused != 0) throw DeviceError(std::string("collectives: ") + reply.reason);
    deadline_ = std::max(deadline, Clock::now() + limit);
  }

  std::vector<std::byte> gather(const void* own, size_t bytes) override {
    std::vector<std::byte> all(bytes * ranks_);
    centre_.send_all(own, bytes, deadline_);
    centre_.recv_all(all.data(), all.size(), deadline_);
    return all;
  }

 private:
  Socket centre_;
  const size_t ranks_;
  Clock::time_point deadline_;
};

std::unique_ptr<Table> meet(const Meeting& meeting, const Hello& own, Clock::time_point deadline,
                            std::chrono::milliseconds limit) {
  if (Socket listener = take_meeting(meeting.secret))
    return std::make_unique<Centre>(std::move(listener), own, deadline, limit);
  const bool near = meeting.machine == own.host.machine && meeting.network == own.host.network;
  Socket centre = Socket::connect(endpoints(meeting.address, meeting.addresses, meeting.port, near), deadline);
  return std::make_unique<Spoke>(std::move(centre), own, deadline, limit);
}

// The ranks of this host that may share memory with `rank`, itself included, in order.
std::vector<size_t> neighbours(const std::vector<Hello>& hellos, size_t rank) {
  std::vector<size_t> found;
  for (size_t i = 0; i < hellos.size(); ++i) {
    const bool wants = hellos[i].transport != static_cast<uint32_t>(Transport::tcp);
    if (wants && hellos[i].host == hellos[rank].host) found.push_back(i);
  }
  if (std::find(found.begin(), found.end(), rank) == found.end()) return {rank};
  return found;
}

// Opens the segment of this host; every rank takes part in the rounds, whether it shares memory or not.
void share_memory(Mesh& mesh, const std::vector<Hello>& hellos, Table& table, std::vector<uint8_t>& reached,
                  std::string& why_not) {
  const std::vector<size_t> near = neighbours(hellos, mesh.rank);
  const size_t ring_bytes = hellos[near.front()].buffer_bytes;
  int32_t descriptor = -1;
  if (near.size() > 1 && near.front() == mesh.rank) {
    mesh.segment = Segment::make(near.size(), ring_bytes);
    descriptor = mesh.segment->descriptor();
  }
  const std::vector<int32_t> descriptors = table.gather(descriptor);
  uint8_t joined = 0;
  if (near.size() > 1) {
    try {
      if (mesh.segment == nullptr)
        mesh.segment = Segment::open(hellos[near.front()].process, descriptors[near.front()], near.size(), ring_bytes);
      const auto place = std::find(near.begin(), near.end(), mesh.rank) - near.begin();
      mesh.segment->join(static_cast<size_t>(place));
      joined = 1;
    } catch (const DeviceError& error) {  // such pairs go by TCP
      why_not = error.what();
      mesh.segment = nullptr;
    }
  }
  reached = table.gather(joined);
  if (!joined) return;
  for (size_t i = 0; i < near.size(); ++i) {
    const size_t own_place = static_cast<size_t>(std::find(near.begin(), near.end(), mesh.rank) - near.begin());
    if (near[i] != mesh.rank && reached[near[i]])
      mesh.links[near[i]] = mesh.segment->link(own_place, i, mesh.names[near[i]]);
  }
}

// Maps what the neighbours offer. Where that fails, data goes through the rings.
void map_memory(Mesh& mesh, const std::vector<Hello>& hellos, Table& table) {
  uint8_t mapped = mesh.segment != nullptr;
  try {
    for (size_t peer = 0; mapped && peer < mesh.ranks; ++peer)
      if (mesh.links[peer] != nullptr && hellos[peer].memory_file >= 0)
        mesh.peers[peer] =
            std::make_unique<PeerMemory>(hellos[peer].process, hellos[peer].memory_file, hellos[peer].memory_bytes);
  } catch (const DeviceError&) {
    mapped = 0;
    for (auto& peer : mesh.peers) peer = nullptr;
  }
  mesh.readers = table.gather(mapped);
  for (size_t peer = 0; peer < mesh.ranks; ++peer)
    if (mesh.links[peer] == nullptr || mesh.memory.file < 0) mesh.readers[peer] = 0;
}

struct Greeting {
  uint64_t secret;
  uint64_t rank;
};

// Every pair without a link: the higher rank connects, the lower accepts.
void connect_the_rest(Mesh& mesh, const std::vector<Hello>& hellos, Socket& listener, uint64_t secret,
                      const Options& options, Clock::time_point deadline) {
  size_t expected = 0;
  for (size_t other = 0; other < mesh.ranks; ++other) {
    if (other == mesh.rank || mesh.links[other] != nullptr) continue;
    mesh.has_sockets = true;
    if (other > mesh.rank) {
      ++expected;
      continue;
    }
    const Hello& to = hellos[other];
    const bool near =
        to.host.machine == hellos[mesh.rank].host.machine && to.host.network == hellos[mesh.rank].host.network;
    Socket socket = Socket::connect(endpoints(to.address, to.addresses, to.port, near), deadline);
    const Greeting greeting{secret, mesh.rank};
    socket.send_all(&greeting, sizeof greeting, deadline);
    mesh.links[other] = make_tcp_link(std::move(socket), options.buffer_bytes, mesh.names[other]);
  }
  while (expected > 0) {
    Socket socket = listener.accept(deadline);
    if (!socket) throw DeviceError("collectives: a rank that was there before has not connected in time");
    Greeting greeting{};
    socket.recv_all(&greeting, sizeof greeting, deadline);
    if (greeting.secret != secret || greeting.rank <= mesh.rank || greeting.rank >= mesh.ranks ||
        mesh.links[greeting.rank] != nullptr)
      continue;
    mesh.links[greeting.rank] = make_tcp_link(std::move(socket), options.buffer_bytes, mesh.names[greeting.rank]);
    --expected;
  }
}

Meeting read_id(const UniqueId& id) {
  Meeting meeting{};
  std::memcpy(&meeting, id.bytes, sizeof meeting);
  if (meeting.magic != kMagic)
    throw InvalidArgument("collectives: the unique id is none, or of another release of the communicator");
  return meeting;
}

Hello introduce(const Meeting& meeting, size_t rank, size_t ranks, const Options& options, const Socket& listener,
                const SharedMemory& memory) {
  Hello hello{};
  hello.magic = kMagic;
  hello.secret = meeting.secret;
  hello.rank = rank;
  hello.ranks = ranks;
  hello.host = this_host();
  hello.process = getpid();
  hello.buffer_bytes = options.buffer_bytes;
  hello.transport = static_cast<uint32_t>(options.transport);
  hello.memory_file = memory.file;
  hello.memory_bytes = memory.bytes;
  hello.port = listener.port();
  hello.addresses = copy_addresses(options, hello.address);
  gethostname(hello.name, sizeof hello.name - 1);
  return hello;
}

}  // namespace

UniqueId make_unique_id(const Options& options) {
  std::random_device random;
  Meeting meeting{};
  meeting.magic = kMagic;
  meeting.secret = (static_cast<uint64_t>(random()) << 32) | random();
  const Host host = this_host();
  meeting.machine = host.machine;
  meeting.network = host.network;
  meeting.addresses = copy_addresses(options, meeting.address);
  Socket listener = Socket::listen(1024);
  meeting.port = listener.port();
  const std::lock_guard<std::mutex> lock(meetings_mutex);
  meetings().emplace(meeting.secret, std::move(listener));
  UniqueId id{};
  std::memcpy(id.bytes, &meeting, sizeof meeting);
  return id;
}

PeerMemory::PeerMemory(int64_t process, int file, size_t bytes) : base_(nullptr), bytes_(bytes) {
  const std::string path = "/proc/" + std::to_string(process) + "/fd/" + std::to_string(file);
  const int opened = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* const base = opened < 0 ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, opened, 0);
  if (opened >= 0) close(opened);
  if (base == MAP_FAILED) throw DeviceError("collectives: cannot read " + path + ": " + std::strerror(errno));
  base_ = static_cast<const std::byte*>(base);
}

PeerMemory::~PeerMemory() { munmap(const_cast<std::byte*>(base_), bytes_); }

const std::byte* PeerMemory::at(size_t offset, size_t size) const {
  if (offset > bytes_ || size > bytes_ - offset)
    throw DeviceError("collectives: another rank sends what lies outside of its memory");
  return base_ + offset;
}

Mesh Mesh::join(const UniqueId& id, size_t rank, size_t ranks, const Options& options, const SharedMemory& memory) {
  const Meeting meeting = read_id(id);
  if (ranks < 1 || ranks > kMaxRanks || rank >= ranks)
    throw InvalidArgument("collectives: rank " + std::to_string(rank) + " of " + std::to_string(ranks) +
                          " ranks makes no sense");
  Mesh mesh;
  mesh.rank = rank;
  mesh.ranks = ranks;
  mesh.links.resize(ranks);
  mesh.peers.resize(ranks);
  mesh.memory = memory;
  const auto deadline = Clock::now() + options.timeout;
  Socket listener = Socket::listen(1024);
  const Hello own = introduce(meeting, rank, ranks, options, listener, memory);
  const std::unique_ptr<Table> table = meet(meeting, own, deadline, options.timeout);
  const std::vector<Hello> hellos = table->gather(own);
  for (const Hello& hello : hellos)
    mesh.names.push_back("rank " + std::to_string(hello.rank) + " (process " + std::to_string(hello.process) +
                         " on host " + hello.name + ")");
  std::vector<uint8_t> reached;
  std::string why_not;
  share_memory(mesh, hellos, *table, reached, why_not);
  map_memory(mesh, hellos, *table);
  const bool all_shared = std::count(mesh.links.begin(), mesh.links.end(), std::unique_ptr<Link>()) == 1;
  if (options.transport == Transport::shared_memory && !all_shared)
    throw DeviceError(
        "collectives: ADAPTER_COLLECTIVES_TRANSPORT is \"shm\", but not every rank can be reached so" +
        (why_not.empty() ? std::string("; they run on other hosts or in other containers") : ": " + why_not));
  connect_the_rest(mesh, hellos, listener, meeting.secret, options, Clock::now() + options.timeout);
  table->gather(static_cast<uint8_t>(1));  // nobody leaves before everybody stands
  mesh.crowded = static_cast<int>(neighbours(hellos, rank).size()) > processors();
  return mesh;
}

}  // namespace adapter::collectives
