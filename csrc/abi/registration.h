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

// Takes reference kernels out of the table for which the plugin has its own kernel of the same operator and dtype. To
// be called before the table is read; does nothing where nothing was added since.
void drop_replaced_references();

}  // namespace adapter::abi
