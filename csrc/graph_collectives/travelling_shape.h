// A shape that goes ahead of a tensor, from p_send to p_recv: its rank, then kMaxRank dimensions.
#pragma once

#include "adapter_sdk/ring.h"

namespace adapter::graph_collectives {

inline void send_shape(Ring& ring, const Shape& shape, size_t receiver) {
  std::vector<int64_t> message(1 + kMaxRank);
  message[0] = shape.rank;
  std::copy(shape.begin(), shape.end(), message.begin() + 1);
  ring.send_integers(message, receiver);
}

inline Shape receive_shape(Ring& ring, size_t sender) {
  std::vector<int64_t> message(1 + kMaxRank);
  ring.recv_integers(message, sender);
  if (message[0] < 0 || message[0] > kMaxRank)
    throw DeviceError("a shape of " + std::to_string(message[0]) +
                      " dimensions has come: the sender's p_send has "
                      "dynamic_shape off");
  return Shape(message.begin() + 1, message.begin() + 1 + message[0]);
}

}  // namespace adapter::graph_collectives
