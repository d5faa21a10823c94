// Throws what Paddle turns into a Python exception, in eager and in static mode.
#pragma once

#include <string>

namespace adapter::abi {

// `paddle_code` is Paddle's common::ErrorCode (1 InvalidArgument, 5 ResourceExhausted, 9 Unimplemented, 12 External).
// Any other exception type that crosses into Paddle ends the process.
[[noreturn]] void throw_to_paddle(int paddle_code, const std::string& message);

}  // namespace adapter::abi
