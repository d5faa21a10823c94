#include "abi/collective_calls.h"

#include <utility>

#include "abi/ring_contexts.h"
#include "adapter_sdk/collectives_table.h"
#include "adapter_sdk/device.h"

namespace adapter::abi {
namespace {

enum Operation {
  kCommInit,
  kCommDestroy,
  kAllReduce,
  kBroadcast,
  kReduce,
  kAllGather,
  kReduceScatter,
  kSend,
  kRecv,
  kAllToAll,
  kOperations
};

AdapterCollectiveRow rows[kOperations] = {
    {sizeof(AdapterCollectiveRow), "comm_init", 0},      {sizeof(AdapterCollectiveRow), "comm_destroy", 0},
    {sizeof(AdapterCollectiveRow), "all_reduce", 0},     {sizeof(AdapterCollectiveRow), "broadcast", 0},
    {sizeof(AdapterCollectiveRow), "reduce", 0},         {sizeof(AdapterCollectiveRow), "all_gather", 0},
    {sizeof(AdapterCollectiveRow), "reduce_scatter", 0}, {sizeof(AdapterCollectiveRow), "send", 0},
    {sizeof(AdapterCollectiveRow), "recv", 0},           {sizeof(AdapterCollectiveRow), "all_to_all", 0},
};

AdapterCollectiveInterposer interposer_function = nullptr;
void* interposer_user = nullptr;

void count(Operation operation) { __atomic_fetch_add(&rows[operation].calls, 1, __ATOMIC_RELAXED); }

struct Call {
  Operation operation;
  CollectiveTarget on;
  const void* send;
  void* recv;
  size_t count;
  DType dtype;
  ReduceOp op = ReduceOp::sum;
  size_t peer = 0;
};

// Counts the call, shows it to the tool if there is one, and runs it.
template <typename Work>
void enqueue(Call call, Work&& work) {
  count(call.operation);
  if (interposer_function == nullptr) return work(call);
  AdapterCollectiveCall shown{};
  shown.struct_size = sizeof shown;
  shown.phase = ADAPTER_PHASE_BEFORE;
  shown.row = &rows[call.operation];
  shown.card = call.on.card;
  shown.dtype = static_cast<int32_t>(call.dtype);
  shown.reduction = static_cast<int32_t>(call.op);
  shown.ranks = collectives().ranks(call.on.communicator);
  shown.rank = collectives().rank(call.on.communicator);
  shown.peer = call.peer;
  shown.send = call.send;
  shown.recv = call.recv;
  shown.count = call.count;
  shown.stream = call.on.stream;
  if (interposer_function(interposer_user, &shown) == 0) {
    call.dtype = static_cast<DType>(shown.dtype);
    call.op = static_cast<ReduceOp>(shown.reduction);
    call.peer = shown.peer;
    call.send = shown.send;
    call.recv = shown.recv;
    call.count = shown.count;
    call.on.stream = shown.stream;
    work(call);
  }
  shown.phase = ADAPTER_PHASE_AFTER;
  interposer_function(interposer_user, &shown);
}

void set_interposer(AdapterCollectiveInterposer interposer, void* user) {
  interposer_user = user;
  interposer_function = interposer;
}

}  // namespace

Collectives& collectives() { return *plugin_device().collectives(); }

CommunicatorHandle join_communicator(int card, size_t ranks, const void* id, size_t rank) {
  count(kCommInit);
  const CommunicatorHandle communicator = collectives().create(card, ranks, id, rank);
  note_communicator(communicator);
  return communicator;
}

void leave_communicator(CommunicatorHandle communicator) {
  count(kCommDestroy);
  if (communicator == nullptr) return;
  forget_communicator(communicator);
  collectives().destroy(communicator);
}

void call_all_reduce(const CollectiveTarget& on, const void* send, void* recv, size_t count, DType dtype, ReduceOp op) {
  enqueue({kAllReduce, on, send, recv, count, dtype, op},
          [](const Call& c) { collectives().all_reduce(c.on, c.send, c.recv, c.count, c.dtype, c.op); });
}

void call_broadcast(const CollectiveTarget& on, void* data, size_t count, DType dtype, size_t root) {
  enqueue({kBroadcast, on, data, data, count, dtype, ReduceOp::sum, root},
          [](const Call& c) { collectives().broadcast(c.on, c.recv, c.count, c.dtype, c.peer); });
}

void call_reduce(const CollectiveTarget& on, const void* send, void* recv, size_t count, DType dtype, ReduceOp op,
                 size_t root) {
  enqueue({kReduce, on, send, recv, count, dtype, op, root},
          [](const Call& c) { collectives().reduce(c.on, c.send, c.recv, c.count, c.dtype, c.op, c.peer); });
}

void call_all_gather(const CollectiveTarget& on, const void* send, void* recv, size_t count, DType dtype) {
  enqueue({kAllGather, on, send, recv, count, dtype},
          [](const Call& c) { collectives().all_gather(c.on, c.send, c.recv, c.count, c.dtype); });
}

void call_reduce_scatter(const CollectiveTarget& on, const void* send, void* recv, size_t count, DType dtype,
                         ReduceOp op) {
  enqueue({kReduceScatter, on, send, recv, count, dtype, op},
          [](const Call& c) { collectives().reduce_scatter(c.on, c.send, c.recv, c.count, c.dtype, c.op); });
}

void call_send(const CollectiveTarget& on, const void* data, size_t count, DType dtype, size_t peer) {
  enqueue({kSend, on, data, nullptr, count, dtype, ReduceOp::sum, peer},
          [](const Call& c) { collectives().send(c.on, c.send, c.count, c.dtype, c.peer); });
}

void call_recv(const CollectiveTarget& on, void* data, size_t count, DType dtype, size_t peer) {
  enqueue({kRecv, on, nullptr, data, count, dtype, ReduceOp::sum, peer},
          [](const Call& c) { collectives().recv(c.on, c.recv, c.count, c.dtype, c.peer); });
}

void call_all_to_all(const CollectiveTarget& on, std::vector<CollectivePart> send, std::vector<CollectivePart> recv) {
  enqueue({kAllToAll, on, send[0].data, recv[0].data, send[0].count, send[0].dtype}, [&](const Call& c) {
    send[0].data = const_cast<void*>(c.send);
    recv[0].data = c.recv;
    collectives().all_to_all(c.on, send.data(), recv.data());
  });
}

}  // namespace adapter::abi

extern "C" __attribute__((visibility("default"))) const AdapterCollectivesTable adapter_sdk_collectives_table = {
    sizeof(AdapterCollectivesTable), adapter::abi::kOperations, adapter::abi::rows, adapter::abi::set_interposer};
