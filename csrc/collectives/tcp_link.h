// A link over a TCP connection.
#pragma once

#include <memory>
#include <string>

#include "collectives/link.h"
#include "collectives/socket.h"

namespace adapter::collectives {

std::unique_ptr<Link> make_tcp_link(Socket socket, size_t buffer_bytes, std::string other_name);

}  // namespace adapter::collectives
