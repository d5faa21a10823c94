// The exported table, seen from inside the library.
#pragma once

namespace adapter::abi {

// Writes plugin_info() into the exported table again, for a plugin that learns late what it is.
void announce_plugin_table();

}  // namespace adapter::abi
