// What the environment says about collectives.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace adapter::collectives {

enum class Transport { automatic, shared_memory, tcp };

struct Options {
  // How long a rank waits without any progress before it gives up. ADAPTER_COLLECTIVES_TIMEOUT, in seconds.
  std::chrono::milliseconds timeout{std::chrono::minutes(5)};
  // ADAPTER_COLLECTIVES_TRANSPORT: auto, shm or tcp. auto takes shared memory between ranks that can reach it.
  Transport transport = Transport::automatic;
  // Bytes that may be under way from one rank to another. ADAPTER_COLLECTIVES_BUFFER, with an optional suffix K or M.
  size_t buffer_bytes = size_t{512} << 10;
  // Network interface of the addresses that other hosts connect to; empty for all. ADAPTER_COLLECTIVES_INTERFACE.
  std::string interface;
};

// "1.5 s (ADAPTER_COLLECTIVES_TIMEOUT)", for messages about it.
std::string describe_timeout(std::chrono::milliseconds timeout);

// Memory of this process that ranks on the same host may read: a file, mapped whole at `base`. Large messages within it
// are then read where they lie instead of being copied through a ring.
struct SharedMemory {
  int file = -1;
  const std::byte* base = nullptr;
  size_t bytes = 0;

  bool holds(const void* data, size_t size) const {
    const auto offset = static_cast<size_t>(static_cast<const std::byte*>(data) - base);
    return file >= 0 && offset < bytes && size <= bytes - offset;
  }
};

// Reads the environment anew. Throws InvalidArgument naming the variable and its value when one is malformed.
Options options_from_environment();

}  // namespace adapter::collectives
