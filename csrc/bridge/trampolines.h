// Functions that Paddle can call, each bound to one Python kernel.
#pragma once

#include "bridge/python_kernel.h"

namespace adapter::bridge {

// Paddle gives a kernel no user data, so every kernel needs two C functions of its own: they are compiled ahead.
inline constexpr size_t kTrampolines = 1024;

// Sets the entries of `kernel`, which lives as long as the library. Throws InvalidArgument when none is left.
void bind_trampoline(PythonKernel& kernel);

}  // namespace adapter::bridge
