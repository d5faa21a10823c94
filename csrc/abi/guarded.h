// Callbacks of Paddle that no exception may leave.
#pragma once

#include <exception>
#include <utility>

#include "abi/runtime.h"

namespace adapter::abi {

// An error becomes a status, its message waits in last_error(). For callbacks that Paddle makes from destructors, or
// whose failure it handles itself.
template <typename Work>
PD_Status guarded(Work&& work) {
  try {
    std::forward<Work>(work)();
    return PD_SUCCESS;
  } catch (const std::exception& error) {
    set_last_error(error.what());
  } catch (...) {
    set_last_error("an exception that is no std::exception");
  }
  return PD_FAILED;
}

}  // namespace adapter::abi
