// Tells tools what Paddle was given; see adapter_sdk/interface_table.h.
#pragma once

#include "abi/layouts.h"
#include "abi/paddle_c.h"

namespace adapter::abi {

// To be called when every slot is filled.
void announce_interface(const PD_DeviceInterfacePrefix& interface, const Layout& layout);

}  // namespace adapter::abi
