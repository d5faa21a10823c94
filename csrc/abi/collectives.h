// Paddle's xccl callbacks, served by Device::collectives().
#pragma once

#include "abi/layouts.h"
#include "abi/paddle_c.h"
#include "adapter_sdk/collectives.h"

namespace adapter::abi {

// Fills the xccl slots of this release. A plugin without collectives leaves them NULL, which Paddle reports by name.
void fill_collectives(PD_DeviceInterfacePrefix* interface, const Layout& layout);

}  // namespace adapter::abi
