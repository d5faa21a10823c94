// The communicating half of a native plugin: derive from Collectives and return it from Device::collectives().
#pragma once

#include <cstddef>
#include <string>

#include "adapter_sdk/collectives_table.h"
#include "adapter_sdk/context.h"

namespace adapter {

enum class ReduceOp : int32_t {
  sum = ADAPTER_REDUCE_SUM,
  average = ADAPTER_REDUCE_AVG,
  maximum = ADAPTER_REDUCE_MAX,
  minimum = ADAPTER_REDUCE_MIN,
  product = ADAPTER_REDUCE_PRODUCT,
};

constexpr const char* name_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum: return "sum";
    case ReduceOp::average: return "avg";
    case ReduceOp::maximum: return "max";
    case ReduceOp::minimum: return "min";
    case ReduceOp::product: return "prod";
  }
  return "unknown";
}

// What one rank holds of a communicator; made and freed by the plugin.
using CommunicatorHandle = void*;

// Where a call goes: which communicator, and the stream on which it has its place.
struct CollectiveTarget {
  CommunicatorHandle communicator;
  int card;
  StreamHandle stream;
};

// One part of an all_to_all: `count` elements at a device address.
struct CollectivePart {
  void* data;
  size_t count;
  DType dtype;
};

// Calls are enqueued: they return at once, take effect in the order of the stream, and report what goes wrong on the
// stream, so that the next synchronisation throws it. Every method may throw; the SDK passes the message on to Python.
// All ranks of a communicator make the same calls in the same order. `send` may equal `recv` (in place); all_gather in
// place sends from its own part of `recv`, reduce_scatter in place receives into its own part of `send`. A call with
// no elements is a call: it still has its place in the order.
class Collectives {
 public:
  virtual ~Collectives() = default;

  // The rank that makes the id hands it to the others, which is Paddle's business; then all call create().
  virtual size_t unique_id_bytes() = 0;
  virtual void make_unique_id(void* id) = 0;
  // Blocks until all ranks have come. Throws when one does not within the plugin's time limit.
  virtual CommunicatorHandle create(int card, size_t ranks, const void* id, size_t rank) = 0;
  // Calls that are still on a stream may finish afterwards.
  virtual void destroy(CommunicatorHandle communicator) = 0;
  virtual std::string name(CommunicatorHandle communicator) = 0;
  virtual size_t ranks(CommunicatorHandle communicator) = 0;
  virtual size_t rank(CommunicatorHandle communicator) = 0;

  // `count` is what Paddle says: the elements of `send`, for reduce_scatter those of `recv`.
  virtual void all_reduce(const CollectiveTarget& on, const void* send, void* recv, size_t count, DType dtype,
                          ReduceOp op) = 0;
  virtual void broadcast(const CollectiveTarget& on, void* data, size_t count, DType dtype, size_t root) = 0;
  // `recv` counts on the root alone.
  virtual void reduce(const CollectiveTarget& on, const void* send, void* recv, size_t count, DType dtype, ReduceOp op,
                      size_t root) = 0;
  virtual void all_gather(const CollectiveTarget& on, const void* send, void* recv, size_t count, DType dtype) = 0;
  virtual void reduce_scatter(const CollectiveTarget& on, const void* send, void* recv, size_t count, DType dtype,
                              ReduceOp op) = 0;
  // `ranks` parts each; part i goes to, and comes from, rank i.
  virtual void all_to_all(const CollectiveTarget& on, const CollectivePart* send, const CollectivePart* recv) = 0;
  virtual void send(const CollectiveTarget& on, const void* data, size_t count, DType dtype, size_t peer) = 0;
  virtual void recv(const CollectiveTarget& on, void* data, size_t count, DType dtype, size_t peer) = 0;
  // What the calling thread sends and receives between these two runs together, so that no order of it can deadlock.
  virtual void group_start() = 0;
  virtual void group_end() = 0;
};

}  // namespace adapter
