// Mounting: what happens when Paddle calls InitPlugin.
#pragma once

#include "abi/paddle_c.h"

namespace adapter::abi {

// Fills `params`, or leaves its device_type NULL, upon which Paddle skips the library and `import paddle` still works.
void mount(PD_RuntimeParams* params);

int mount_state();
const char* mount_message();

}  // namespace adapter::abi
