#include "abi/ring_contexts.h"

#include <dlfcn.h>

#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

#include "abi/paddle_api.h"

namespace adapter::abi {
namespace {

// phi::distributed::XCCLCommContext of 3.1.0 - 3.3.1, 64 bytes; tests/abi measures it with an installed Paddle's
// headers.
constexpr size_t kPlaceOffset = 16;
constexpr size_t kCommunicatorOffset = 32;
constexpr size_t kContextOffset = 56;

// Paddle names a ring by the number of its group. Process groups count up from 0.
constexpr int kRings = 1024;

struct Functions {
  const char* manager_guard = nullptr;  // not 0 once the manager below exists
  void* manager = nullptr;
  bool (*has)(const void* manager, const std::string& ring) = nullptr;
  char* (*get)(const void* manager, const std::string& ring) = nullptr;
  void* (*pool)() = nullptr;
  const PD_DeviceContext* (*pool_get)(void* pool, const void* place) = nullptr;
  // Returns a std::unique_ptr through its first argument. The last argument exists since 3.1.1.
  void* (*create_context)(void** made, const void* place, bool keep_default_stream, int priority, bool) = nullptr;
  const char* (*comm_context_of)(const void* device_context) = nullptr;
};
Functions functions;
std::string& obstacle = *new std::string("Paddle has not loaded this library");

struct Ring {
  CommunicatorHandle communicator;
  StreamHandle stream;
};
std::mutex mutex;
auto& known = *new std::set<CommunicatorHandle>;  // outlive exit hooks, in which communicators are destroyed
auto& rings = *new std::map<const void*, Ring>;   // by device context

// A ring is looked for by the thread that made its communicator, which enters it into Paddle's table next: no other
// thread then reads the table while it changes.
constexpr int kLooks = 256;
thread_local int looks_left = 0;

template <typename T>
T load(const char* object, size_t offset) {
  T value;
  std::memcpy(&value, object + offset, sizeof value);
  return value;
}

bool manager_exists() { return __atomic_load_n(functions.manager_guard, __ATOMIC_ACQUIRE) != 0; }

// Gives the ring of this name its context, if it is one of ours and has none.
void complete(const std::string& name) {
  if (!functions.has(functions.manager, name)) return;
  char* const ring = functions.get(functions.manager, name);
  const auto communicator = load<CommunicatorHandle>(ring, kCommunicatorOffset);
  // Gloo's contexts stand in the same table; and were the layout another one, no handle of ours would stand here.
  if (known.count(communicator) == 0 || load<void*>(ring, kContextOffset) != nullptr) return;
  void* made = nullptr;
  functions.create_context(&made, ring + kPlaceOffset, true, 0, false);
  PD_Status status = PD_SUCCESS;
  const PD_DeviceContext* computing = functions.pool_get(functions.pool(), ring + kPlaceOffset);
  rings[made] = {communicator, paddle().PD_DeviceContextGetStream(computing, &status)};
  std::memcpy(ring + kContextOffset, &made, sizeof made);  // the ring owns it from now on
}

bool complete_all() {
  for (int i = 0; i < kRings; ++i) complete(std::to_string(i));
  return rings.size() == known.size();
}

}  // namespace

void prepare_rings(PaddleVersion version) {
  if (version < PaddleVersion{3, 1, 0}) {
    obstacle = "Paddle before 3.1 has no device contexts for communicators";
    return;
  }
  void* library = dlopen("libphi_core.so", RTLD_LAZY | RTLD_NOLOAD);
  obstacle.clear();
  const auto look_up = [&](auto& target, const char* symbol) {
    target = reinterpret_cast<std::decay_t<decltype(target)>>(library ? dlsym(library, symbol) : nullptr);
    if (target == nullptr) obstacle += (obstacle.empty() ? "this Paddle does not export " : ", ") + std::string(symbol);
  };
  look_up(functions.manager_guard, "_ZGVZN3phi11distributed18CommContextManager11GetInstanceEvE8instance");
  look_up(functions.manager, "_ZZN3phi11distributed18CommContextManager11GetInstanceEvE8instance");
  look_up(functions.has,
          "_ZNK3phi11distributed18CommContextManager3HasERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
  look_up(functions.get,
          "_ZNK3phi11distributed18CommContextManager3GetERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
  look_up(functions.pool, "_ZN3phi17DeviceContextPool8InstanceEv");
  look_up(functions.pool_get, "_ZN3phi17DeviceContextPool3GetERKNS_5PlaceE");
  const std::string create =
      "_ZN6paddle8platform19CreateDeviceContextIN3phi13CustomContextEEESt10unique_ptrINS2_13DeviceContextESt14default_"
      "deleteIS5_EERKNS2_5PlaceEbi";
  look_up(functions.create_context, (version < PaddleVersion{3, 1, 1} ? create : create + "b").c_str());
  look_up(functions.comm_context_of, "_ZNK3phi13DeviceContext14GetCommContextEv");
}

const char* why_no_rings() { return obstacle.c_str(); }

void note_communicator(CommunicatorHandle communicator) {
  std::lock_guard<std::mutex> lock(mutex);
  known.insert(communicator);
  if (obstacle.empty()) looks_left = kLooks;
}

void forget_communicator(CommunicatorHandle communicator) {
  std::lock_guard<std::mutex> lock(mutex);
  known.erase(communicator);
  for (auto it = rings.begin(); it != rings.end();)
    it = it->second.communicator == communicator ? rings.erase(it) : std::next(it);
}

void complete_rings() {
  if (looks_left == 0 || !manager_exists()) return;
  const int left = std::exchange(looks_left, 0) - 1;  // making a context selects its device, which comes here again
  std::lock_guard<std::mutex> lock(mutex);
  if (!complete_all()) looks_left = left;
}

CollectiveTarget ring_target(const void* device_context, bool in_graph, int card, StreamHandle stream) {
  std::lock_guard<std::mutex> lock(mutex);
  if (const auto ring = rings.find(device_context); ring != rings.end())
    return {ring->second.communicator, card, ring->second.stream != nullptr ? ring->second.stream : stream};
  const char* comm_context = functions.comm_context_of != nullptr ? functions.comm_context_of(device_context) : nullptr;
  const auto communicator =
      comm_context != nullptr ? load<CommunicatorHandle>(comm_context, kCommunicatorOffset) : nullptr;
  if (known.count(communicator) == 0)
    throw InvalidArgument("no communicator belongs to this call" + (obstacle.empty() ? "" : ": " + obstacle) +
                          "; call paddle.distributed.init_parallel_env(), and one collective of the group, e.g. "
                          "all_reduce, before the graph runs");
  // Before an eager call Paddle tells the context its communicator. A graph that runs this operator on the card's own
  // context tells it once, the first it meets: with several groups that may be another one.
  if (in_graph && known.size() > 1)
    throw InvalidArgument("this process has " + std::to_string(known.size()) +
                          " communicators, and Paddle does not tell this operator of a graph which is its own; use "
                          "all_reduce, all_gather, reduce_scatter, all_to_all or broadcast, or a process without "
                          "further groups");
  return {communicator, card, stream};
}

}  // namespace adapter::abi
