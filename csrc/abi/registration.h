// Registers the kernels of this library in Paddle.
#pragma once

#include <cstddef>

#include "abi/signatures.h"

namespace adapter::abi {

struct RegistrationCounts {
  size_t registered = 0;
  size_t refused = 0;
};

// A kernel whose signature does not fit `version` is refused; its row says why. Never registers one wrong.
RegistrationCounts register_kernels(const PaddleVersion& version);

}  // namespace adapter::abi
