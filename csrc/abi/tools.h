// Tools around kernel calls that conformance runs switch on; off, they cost one load a call.
#pragma once

#include "adapter_sdk/context.h"
#include "adapter_sdk/kernel.h"
#include "adapter_sdk/plugin_table.h"

namespace adapter::abi {

void set_checks(uint32_t mask);
uint32_t active_checks();
void set_interposer(AdapterInterposer interposer, void* user);
void set_profiling(bool on);

// Shows the call to the interposer, if one is installed. True when it wants the kernel skipped.
bool interpose(int32_t phase, const detail::CallFrame& frame, Context& ctx, const detail::CallTensors& tensors);

}  // namespace adapter::abi
