// A tool that breaks chosen kernels of any plugin from outside, to prove that `adapter-conform` notices.
//
// Loaded by the workers through ADAPTER_CONFORM_PRELOAD. ADAPTER_FAULT names what to break:
// "fault:operator/dtype[,...]". Beside the faults in numbers (corruption.h) there are
//   before the kernel: segfault, throw, hang, no_allocation (the kernel is skipped)
//   after it:          out_of_bounds_write (one byte behind the first output)
// Each time a fault changes something, a line "planted FAULT in KERNEL" goes to the worker's log.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <stdexcept>

#include "adapter_sdk/plugin_table.h"
#include "corruption.h"
#include "plan.h"

namespace faults {
namespace {

const AdapterPluginTable* table = nullptr;
std::vector<Planted>& plan = *new std::vector<Planted>;

void log_planted(const Planted& planted) {
  std::fprintf(stderr, "planted %s in %s\n", planted.fault.c_str(), planted.kernel.c_str());
}

void require(int32_t status) {
  if (status != 0) throw std::runtime_error(std::string("the fault cannot be planted: ") + table->last_error());
}

size_t elements(const AdapterTensorView& view) {
  size_t count = 1;
  for (int32_t i = 0; i < view.rank; ++i) count *= static_cast<size_t>(view.dims[i]);
  return count;
}

// ---- before the kernel ----------------------------------------------------------------------------------------------

// True when the kernel is to be skipped.
bool strike_before(const Planted& planted) {
  const std::string& fault = planted.fault;
  if (fault != "segfault" && fault != "throw" && fault != "hang" && fault != "no_allocation") return false;
  log_planted(planted);
  if (fault == "segfault") *reinterpret_cast<volatile int*>(8) = 1;
  if (fault == "throw") throw std::runtime_error("planted exception");
  while (fault == "hang") pause();
  return true;
}

// ---- after the kernel -----------------------------------------------------------------------------------------------

template <typename T>
void corrupt_output(const Planted& planted, const AdapterKernelCall& call, const AdapterTensorView& output) {
  std::vector<T> values(elements(output));
  const size_t bytes = values.size() * sizeof(T);
  if (bytes == 0) return;
  require(table->copy(call.card, ADAPTER_COPY_D2H, values.data(), output.data, bytes));
  const std::vector<T> right = values;
  corrupt(planted.fault, planted.kernel, values);
  if (std::memcmp(right.data(), values.data(), bytes) == 0) return;
  require(table->copy(call.card, ADAPTER_COPY_H2D, output.data, values.data(), bytes));
  log_planted(planted);
}

void write_behind(const Planted& planted, const AdapterKernelCall& call, const AdapterTensorView& output) {
  const auto dtype = static_cast<adapter::DType>(output.dtype);
  const unsigned char byte = 0;
  char* behind = static_cast<char*>(output.data) + elements(output) * adapter::size_of(dtype);
  if (elements(output) == 0) return;
  require(table->copy(call.card, ADAPTER_COPY_H2D, behind, &byte, 1));
  log_planted(planted);
}

void strike_after(const Planted& planted, const AdapterKernelCall& call) {
  if (call.n_outputs == 0 || call.outputs[0].data == nullptr) return;
  const AdapterTensorView& output = call.outputs[0];
  require(table->synchronize(call.card));
  if (planted.fault == "out_of_bounds_write") return write_behind(planted, call, output);
  if (output.dtype == ADAPTER_FLOAT32) return corrupt_output<float>(planted, call, output);
  if (output.dtype == ADAPTER_FLOAT64) return corrupt_output<double>(planted, call, output);
}

int32_t interpose(void*, AdapterKernelCall* call) {
  const auto dtype = static_cast<adapter::DType>(call->row->dtype);
  const std::string kernel = std::string(call->row->operator_name) + "/" + adapter::name_of(dtype);
  for (const Planted& planted : plan) {
    if (planted.kernel != kernel) continue;
    if (call->phase == ADAPTER_PHASE_BEFORE) return strike_before(planted);
    strike_after(planted, *call);
  }
  return 0;
}

bool known(const std::string& fault) {
  static const std::set<std::string> others = {"segfault", "throw", "hang", "no_allocation", "out_of_bounds_write"};
  std::vector<float> none;
  return others.count(fault) > 0 || corrupt(fault, "", none);
}

void load_plan() {
  const char* text = std::getenv("ADAPTER_FAULT");
  plan = parse_plan(text == nullptr ? "" : text);
  for (const Planted& planted : plan)
    if (!known(planted.fault)) throw std::invalid_argument("no fault is called \"" + planted.fault + "\"");
}

}  // namespace
}  // namespace faults

extern "C" __attribute__((visibility("default"))) int32_t adapter_conform_preload(const AdapterPluginTable* table) {
  try {
    faults::table = table;
    faults::load_plan();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ADAPTER_FAULT: %s\n", error.what());
    return 1;
  }
  table->set_interposer(faults::interpose, nullptr);
  return 0;
}
