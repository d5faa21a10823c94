#include "abi/registration.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "abi/paddle_api.h"
#include "adapter_sdk/device.h"
#include "adapter_sdk/kernel.h"

namespace adapter {

std::vector<Kernel*>& kernel_table() {
  static auto& table = *new std::vector<Kernel*>;  // used during static initialisation and at exit
  return table;
}

namespace abi {
namespace {

void no_args_definition(const PD_KernelKey*, PD_Kernel*) {}

void refuse(Kernel& kernel, const std::string& reason) {
  kernel.row.registration = ADAPTER_REFUSED;
  kernel.row.refusal = (new std::string(reason))->c_str();  // read by tools for as long as the library lives
  if (fits_a_release(kernel.row.operator_name, kernel.signature)) kernel.row.flags |= ADAPTER_KERNEL_OTHER_PADDLE;
}

// "" when the signature fits.
std::string misfit(const Kernel& kernel, const PaddleVersion& version) {
  std::string expected;
  switch (check_signature(version, kernel.row.operator_name, kernel.signature, &expected)) {
    case SignatureCheck::fits: return "";
    case SignatureCheck::absent: return std::string("this Paddle has no operator kernel ") + kernel.row.operator_name;
    case SignatureCheck::differs:
      return std::string("operator ") + kernel.row.operator_name + ": this Paddle expects " + expected +
             ", the plugin's kernel has " + kernel.signature;
  }
  return "unknown result of the signature check";
}

void register_one(Kernel& kernel) {
  paddle().PD_RegisterPhiKernel(kernel.row.operator_name, plugin_info().device_type, kernel.row.dtype, 0,
                                kernel.inputs.size(), kernel.inputs.data(), kernel.attributes.size(),
                                kernel.attributes.data(), kernel.outputs.size(), kernel.outputs.data(),
                                no_args_definition, reinterpret_cast<void (*)(PD_KernelContext*)>(kernel.static_entry),
                                kernel.eager_entry);
  kernel.row.registration = ADAPTER_REGISTERED;
}

}  // namespace

void drop_replaced_references() {
  static std::mutex mutex;
  static size_t seen = 0;
  std::lock_guard<std::mutex> lock(mutex);
  std::vector<Kernel*>& table = kernel_table();
  if (table.size() == seen) return;
  const auto key = [](const Kernel* kernel) {
    return std::pair<std::string, int32_t>(kernel->row.operator_name, kernel->row.dtype);
  };
  std::set<std::pair<std::string, int32_t>> own;
  for (const Kernel* kernel : table)
    if (kernel->row.provenance == ADAPTER_PROVENANCE_OWN) own.insert(key(kernel));
  const auto replaced = [&](const Kernel* kernel) {
    return kernel->row.provenance == ADAPTER_PROVENANCE_REFERENCE && own.count(key(kernel)) > 0;
  };
  table.erase(std::remove_if(table.begin(), table.end(), replaced), table.end());
  seen = table.size();
}

RegistrationCounts register_kernels(const PaddleVersion& version) {
  drop_replaced_references();
  RegistrationCounts counts;
  std::set<std::pair<std::string, int32_t>> taken;
  for (Kernel* kernel : kernel_table()) {
    std::string reason = misfit(*kernel, version);
    // One operator may be declared with the signatures of several releases, but only one may fit.
    if (reason.empty() && !taken.emplace(kernel->row.operator_name, kernel->row.dtype).second)
      reason = std::string("operator ") + kernel->row.operator_name + " is declared twice in this dtype";
    if (!reason.empty()) {
      refuse(*kernel, reason);
      ++counts.refused;
    } else {
      register_one(*kernel);
      ++counts.registered;
    }
  }
  return counts;
}

}  // namespace abi
}  // namespace adapter
