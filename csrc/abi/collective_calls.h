// The one way to the plugin's communicator: Paddle's callbacks and the kernels of static graphs pass here, so that each
// call is counted and shown to the tool.
#pragma once

#include <vector>

#include "adapter_sdk/collectives.h"

namespace adapter::abi {

Collectives& collectives();

// A communicator is made or freed.
CommunicatorHandle join_communicator(int card, size_t ranks, const void* id, size_t rank);
void leave_communicator(CommunicatorHandle communicator);

// As in adapter::Collectives.
void call_all_reduce(const CollectiveTarget&, const void* send, void* recv, size_t count, DType, ReduceOp);
void call_broadcast(const CollectiveTarget&, void* data, size_t count, DType, size_t root);
void call_reduce(const CollectiveTarget&, const void* send, void* recv, size_t count, DType, ReduceOp, size_t root);
void call_all_gather(const CollectiveTarget&, const void* send, void* recv, size_t count, DType);
void call_reduce_scatter(const CollectiveTarget&, const void* send, void* recv, size_t count, DType, ReduceOp);
void call_send(const CollectiveTarget&, const void* data, size_t count, DType, size_t peer);
void call_recv(const CollectiveTarget&, void* data, size_t count, DType, size_t peer);
void call_all_to_all(const CollectiveTarget&, std::vector<CollectivePart> send, std::vector<CollectivePart> recv);

}  // namespace adapter::abi
