// A tool that breaks chosen collectives of any plugin from outside, to prove that `adapter-conform` notices.
//
// Loaded by the ranks through ADAPTER_CONFORM_PRELOAD. ADAPTER_COLLECTIVE_FAULT is "fault:operation[,...]". Faults:
//   rank_order     results of ranks 0 and 1 change places (all_gather)
//   last_element   the last element is left out of the operation
//   stale          the operation is skipped: the result is what stood there before
//   lost_rank      rank 1 sends zeros instead of its data
//   hang           rank 1 never comes back from the call
//   wrong_sum      a maximum where a sum was asked for
//   order          each send carries what the send of the same size before it should have carried
// Each time a fault changes something, a line "planted FAULT in OPERATION" goes to the rank's log.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "adapter_sdk/collectives_table.h"
#include "adapter_sdk/dtype.h"

namespace {

const AdapterPluginTable* table = nullptr;
std::map<std::string, std::string> plan;  // operation -> fault
std::vector<char> saved;
std::map<size_t, std::vector<char>> sent;  // bytes -> what was last to be sent of that size

void require(int32_t status) {
  if (status != 0) throw std::runtime_error(std::string("the fault cannot be planted: ") + table->last_error());
}

size_t bytes_of(const AdapterCollectiveCall& call) {
  return call.count * adapter::size_of(static_cast<adapter::DType>(call.dtype));
}

std::vector<char> read(const AdapterCollectiveCall& call, const void* address, size_t bytes) {
  std::vector<char> data(bytes);
  require(table->synchronize(call.card));
  if (bytes > 0) require(table->copy(call.card, ADAPTER_COPY_D2H, data.data(), address, bytes));
  return data;
}

void write(const AdapterCollectiveCall& call, const void* address, const std::vector<char>& data) {
  if (!data.empty())
    require(table->copy(call.card, ADAPTER_COPY_H2D, const_cast<void*>(address), data.data(), data.size()));
}

int32_t before(AdapterCollectiveCall& call, const std::string& fault) {
  if (fault == "stale") return 1;
  if (fault == "wrong_sum" && call.reduction == ADAPTER_REDUCE_SUM) call.reduction = ADAPTER_REDUCE_MAX;
  if (fault == "last_element" && call.count > 0) --call.count;
  if (fault == "hang" && call.rank == 1)
    for (;;) pause();
  if (fault == "lost_rank" && call.rank == 1) {
    saved = read(call, call.send, bytes_of(call));
    write(call, call.send, std::vector<char>(saved.size()));
  }
  if (fault == "order") {
    saved = read(call, call.send, bytes_of(call));
    std::vector<char>& before_it = sent[saved.size()];
    if (!before_it.empty()) write(call, call.send, before_it);
    before_it = saved;
  }
  return 0;
}

void after(const AdapterCollectiveCall& call, const std::string& fault) {
  if (fault == "lost_rank" && call.rank == 1 && call.send != call.recv) {
    require(table->synchronize(call.card));
    write(call, call.send, saved);
  }
  if (fault == "order") {
    require(table->synchronize(call.card));
    write(call, call.send, saved);
  }
  if (fault != "rank_order") return;
  const size_t part = bytes_of(call);
  const std::vector<char> data = read(call, call.recv, 2 * part);
  std::vector<char> swapped(data.begin() + static_cast<ptrdiff_t>(part), data.end());
  swapped.insert(swapped.end(), data.begin(), data.begin() + static_cast<ptrdiff_t>(part));
  write(call, call.recv, swapped);
}

int32_t interpose(void*, AdapterCollectiveCall* call) {
  const auto planted = plan.find(call->row->operation);
  if (planted == plan.end()) return 0;
  const std::string& fault = planted->second;
  if (call->phase == ADAPTER_PHASE_BEFORE) {
    std::fprintf(stderr, "planted %s in %s\n", fault.c_str(), call->row->operation);
    return before(*call, fault);
  }
  after(*call, fault);
  return 0;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int32_t adapter_conform_preload(const AdapterPluginTable* plugin) {
  table = plugin;
  const char* const text = std::getenv("ADAPTER_COLLECTIVE_FAULT");
  std::istringstream entries(text == nullptr ? "" : text);
  for (std::string entry; std::getline(entries, entry, ',');) {
    const size_t colon = entry.find(':');
    if (colon == std::string::npos) return 1;
    plan[entry.substr(colon + 1)] = entry.substr(0, colon);
  }
  Dl_info library{};
  if (dladdr(plugin, &library) == 0) return 2;
  void* const handle = dlopen(library.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  const auto* const collectives =
      handle == nullptr ? nullptr
                        : static_cast<const AdapterCollectivesTable*>(dlsym(handle, ADAPTER_COLLECTIVES_TABLE_SYMBOL));
  if (collectives == nullptr) return 3;
  collectives->set_interposer(interpose, nullptr);
  return 0;
}
