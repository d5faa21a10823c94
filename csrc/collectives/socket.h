// TCP connections between ranks, with time limits on everything that waits.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace adapter::collectives {

using Clock = std::chrono::steady_clock;

// IPv4 address and port, both in the byte order of the network.
struct Endpoint {
  uint32_t address = 0;
  uint16_t port = 0;
};
std::string to_string(const Endpoint& endpoint);  // "10.0.0.7:4711"

class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  // Listens on every address of this machine, on a port that the system picks. Throws DeviceError.
  static Socket listen(int backlog);
  // Tries the endpoints in turn until one accepts. Throws DeviceError naming them when the deadline has passed.
  static Socket connect(const std::vector<Endpoint>& endpoints, Clock::time_point deadline);

  // The next connection; an empty socket when there was none before the deadline.
  Socket accept(Clock::time_point deadline);
  // Sends and receives all of it. Throws DeviceError when the other side closes, or the deadline passes.
  void send_all(const void* data, size_t bytes, Clock::time_point deadline);
  void recv_all(void* data, size_t bytes, Clock::time_point deadline);

  uint16_t port() const;  // in network order
  void make_non_blocking();
  int descriptor() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

// IPv4 addresses of this machine that are up, in network order, the loopback's last. `interface` restricts them to one
// network interface. Throws InvalidArgument when there is no such interface, or it has no address.
std::vector<uint32_t> local_addresses(const std::string& interface);

}  // namespace adapter::collectives
