// The communicator of the kernel that is running: what kernels of static graphs (`all_reduce`, `p_send`, ...) call.
//
//   Ring ring(ctx);
//   ring.all_reduce(x.data, ctx.alloc<T>(out), x.numel(), dtype_of<T>, ReduceOp::sum);
//
// Calls go to the plugin's Collectives, are counted with those that Paddle makes itself, and are enqueued on the stream
// that the card computes on.
#pragma once

#include <vector>

#include "adapter_sdk/collectives.h"

namespace adapter {

class Ring {
 public:
  // Throws InvalidArgument outside of a static graph, and where the group has no communicator yet.
  explicit Ring(Context& ctx);

  size_t ranks() const;
  size_t rank() const;

  // As in Collectives; `count` likewise.
  void all_reduce(const void* send, void* recv, size_t count, DType dtype, ReduceOp op);
  void broadcast(void* data, size_t count, DType dtype, size_t root);
  void reduce(const void* send, void* recv, size_t count, DType dtype, ReduceOp op, size_t root);
  void all_gather(const void* send, void* recv, size_t count, DType dtype);
  void reduce_scatter(const void* send, void* recv, size_t count, DType dtype, ReduceOp op);
  void all_to_all(const std::vector<CollectivePart>& send, const std::vector<CollectivePart>& recv);
  void send(const void* data, size_t count, DType dtype, size_t peer);
  void recv(void* data, size_t count, DType dtype, size_t peer);

  // Copies within the card, in the order of the same stream; nothing where both are one address.
  void copy(void* to, const void* from, size_t bytes);

  // Small facts that travel ahead of data whose size the receiver does not know. Both block.
  void send_integers(const std::vector<int64_t>& values, size_t peer);
  void recv_integers(std::vector<int64_t>& values, size_t peer);  // as many as it has elements

 private:
  CollectiveTarget target_;
};

}  // namespace adapter
