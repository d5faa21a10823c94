// Paddle's runtime callbacks (memory, streams, events), served by adapter::plugin_device().
#pragma once

#include <string>

#include "abi/layouts.h"
#include "abi/paddle_c.h"
#include "adapter_sdk/context.h"

namespace adapter::abi {

// Fills every slot that this release has; slots of features that the plugin lacks stay NULL.
void fill_runtime(PD_DeviceInterfacePrefix* interface, const Layout& layout);

int current_card();

// The stream used where Paddle names none; created on first use, one a card.
StreamHandle default_stream(int card);

// Message of the last error on the calling thread.
void set_last_error(const std::string& message);
const char* last_error();

}  // namespace adapter::abi
