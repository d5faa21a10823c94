#include "abi/mount.h"

#include <cstdio>
#include <string>

#include "abi/collectives.h"
#include "abi/interface_table.h"
#include "abi/layouts.h"
#include "abi/paddle_api.h"
#include "abi/paddle_version.h"
#include "abi/profiler.h"
#include "abi/registration.h"
#include "abi/ring_contexts.h"
#include "abi/runtime.h"
#include "abi/signatures.h"
#include "adapter_sdk/device.h"

namespace adapter::abi {
namespace {

int state = ADAPTER_NOT_MOUNTED;
std::string& message = *new std::string("not mounted: Paddle has not loaded this library");

std::string remedy() {
  return std::string("; install a paddlepaddle that the plugin supports (") + plugin_info().paddle_versions +
         "), or a newer release of the plugin";
}

// Returns why this Paddle cannot be served, and what to do about it, or "".
std::string mount_into(PD_RuntimeParams* params) {
  if (params->size < sizeof(PD_RuntimeParams))
    return "CustomRuntimeParams has " + std::to_string(params->size) + " bytes, wanted " +
           std::to_string(sizeof(PD_RuntimeParams)) + remedy();
  const size_t size = params->interface->size;
  const Layout* layout = find_layout(size);
  if (layout == nullptr)
    return "this Paddle's C_DeviceInterface has " + std::to_string(size) + " bytes; known are " + known_sizes() +
           remedy();
  if (std::string missing = resolve_paddle_api(); !missing.empty()) return missing;
  std::string detail;
  const auto version = running_paddle_version(&detail);
  if (!version || !signatures_known(*version))
    return "this is PaddlePaddle " + (version ? to_string(*version) : detail) +
           "; this plugin has kernel signatures of " + known_versions() + remedy();
  if (plugin_device().card_count() < 1)
    return "the device reports no card; see that its driver is loaded and that a card is free to use";
  fill_runtime(params->interface, *layout);
  fill_collectives(params->interface, *layout);
  fill_profiler(params->interface, *layout);
  announce_interface(*params->interface, *layout);
  prepare_rings(*version);
  params->version = {0, 1, 1};  // Paddle's CUSTOM_RUNTIME version macros, the same in every release
  params->sub_device_type = plugin_info().sub_device_type;
  const RegistrationCounts counts = register_kernels(*version);
  message = "mounted into PaddlePaddle " + to_string(*version) + ": " + std::to_string(counts.registered) +
            " kernels registered, " + std::to_string(counts.refused) + " refused";
  params->device_type = plugin_info().device_type;
  return "";
}

}  // namespace

void mount(PD_RuntimeParams* params) {
  std::string refusal;
  try {
    refusal = mount_into(params);
  } catch (const std::exception& error) {
    refusal = error.what();
  }
  state = refusal.empty() ? ADAPTER_REGISTERED : ADAPTER_REFUSED;
  if (refusal.empty()) return;
  params->device_type = nullptr;
  message = refusal;
  std::fprintf(stderr, "adapter-sdk: plugin %s (built with contract %d.%d) refuses this Paddle: %s\n",
               plugin_info().name, ADAPTER_CONTRACT_MAJOR, ADAPTER_CONTRACT_MINOR, refusal.c_str());
}

int mount_state() { return state; }
const char* mount_message() { return message.c_str(); }

}  // namespace adapter::abi

extern "C" __attribute__((visibility("default"))) void InitPlugin(PD_RuntimeParams* params) {
  adapter::abi::mount(params);
}
