#include "collectives/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "adapter_sdk/error.h"

namespace adapter::collectives {
namespace {

constexpr std::chrono::milliseconds kRetryPause{50};
constexpr std::chrono::seconds kConnectPatience{5};  // for one address that does not answer at all

[[noreturn]] void failed(const std::string& what) {
  throw DeviceError("collectives: " + what + ": " + std::strerror(errno));
}

// False when the deadline passes first.
bool ready(int descriptor, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd asked{descriptor, events, 0};
    const int count = poll(&asked, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30)));
    if (count > 0) return true;
    if (count == 0 && left <= 0) return false;
    if (count < 0 && errno != EINTR) failed("poll");
  }
}

sockaddr_in address_of(const Endpoint& endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = endpoint.address;
  address.sin_port = endpoint.port;
  return address;
}

void send_at_once(int descriptor) {
  const int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// An empty socket, with errno set, when the endpoint does not accept.
Socket try_connect(const Endpoint& endpoint, Clock::time_point deadline) {
  Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) failed("socket");
  const sockaddr_in address = address_of(endpoint);
  if (connect(socket.descriptor(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno != EINPROGRESS) return {};
    if (!ready(socket.descriptor(), POLLOUT, std::min(deadline, Clock::now() + kConnectPatience))) {
      errno = ETIMEDOUT;
      return {};
    }
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
    if ((errno = error) != 0) return {};
  }
  send_at_once(socket.descriptor());
  return socket;
}

}  // namespace

std::string to_string(const Endpoint& endpoint) {
  char text[INET_ADDRSTRLEN] = "?";
  inet_ntop(AF_INET, &endpoint.address, text, sizeof text);
  return std::string(text) + ":" + std::to_string(ntohs(endpoint.port));
}

Socket::Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}
Socket::~Socket() {
  if (descriptor_ >= 0) close(descriptor_);
}

Socket Socket::listen(int backlog) {
  Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr_in any = address_of({htonl(INADDR_ANY), 0});
  if (!socket || bind(socket.descriptor(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 ||
      ::listen(socket.descriptor(), backlog) != 0)
    failed("cannot listen for the other ranks");
  return socket;
}

Socket Socket::connect(const std::vector<Endpoint>& endpoints, Clock::time_point deadline) {
  for (;;) {
    for (const Endpoint& endpoint : endpoints)
      if (Socket socket = try_connect(endpoint, deadline)) return socket;
    if (Clock::now() + kRetryPause >= deadline) break;
    std::this_thread::sleep_for(kRetryPause);
  }
  const int error = errno;
  std::string tried;
  for (const Endpoint& endpoint : endpoints) tried += (tried.empty() ? "" : ", ") + to_string(endpoint);
  errno = error;
  failed("cannot reach another rank at " + tried +
         " (is it still there? ADAPTER_COLLECTIVES_INTERFACE names the network to use)");
}

Socket Socket::accept(Clock::time_point deadline) {
  for (;;) {
    if (!ready(descriptor_, POLLIN, deadline)) return {};
    Socket socket(accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      send_at_once(socket.descriptor());
      return socket;
    }
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) failed("accept");
  }
}

void Socket::send_all(const void* data, size_t bytes, Clock::time_point deadline) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t sent = ::send(descriptor_, from, bytes, MSG_NOSIGNAL);
    if (sent > 0) {
      from += sent;
      bytes -= static_cast<size_t>(sent);
    } else if (errno != EAGAIN && errno != EINTR) {
      failed("sending to another rank");
    } else if (!ready(descriptor_, POLLOUT, deadline)) {
      throw DeviceError("collectives: another rank takes nothing; the time limit has passed");
    }
  }
}

void Socket::recv_all(void* data, size_t bytes, Clock::time_point deadline) {
  char* to = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::recv(descriptor_, to, bytes, 0);
    if (got > 0) {
      to += got;
      bytes -= static_cast<size_t>(got);
    } else if (got == 0) {
      throw DeviceError("collectives: another rank closed its connection");
    } else if (errno != EAGAIN && errno != EINTR) {
      failed("receiving from another rank");
    } else if (!ready(descriptor_, POLLIN, deadline)) {
      throw DeviceError("collectives: another rank sends nothing; the time limit has passed");
    }
  }
}

uint16_t Socket::port() const {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) != 0) failed("getsockname");
  return address.sin_port;
}

void Socket::make_non_blocking() { fcntl(descriptor_, F_SETFL, fcntl(descriptor_, F_GETFL) | O_NONBLOCK); }

std::vector<uint32_t> local_addresses(const std::string& interface) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) failed("cannot list the network interfaces");
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, freeifaddrs);
  std::vector<uint32_t> addresses, loopback;
  std::string known;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET || !(entry->ifa_flags & IFF_UP)) continue;
    known += (known.empty() ? "" : ", ") + std::string(entry->ifa_name);
    if (!interface.empty() && interface != entry->ifa_name) continue;
    const uint32_t address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr.s_addr;
    (entry->ifa_flags & IFF_LOOPBACK ? loopback : addresses).push_back(address);
  }
  addresses.insert(addresses.end(), loopback.begin(), loopback.end());
  if (addresses.empty())
    throw InvalidArgument("collectives: no IPv4 address" +
                          (interface.empty()
                               ? std::string(" on this machine")
                               : " on the network interface \"" + interface +
                                     "\" that ADAPTER_COLLECTIVES_INTERFACE names (known: " + known + ")"));
  return addresses;
}

}  // namespace adapter::collectives
