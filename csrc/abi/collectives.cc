#include "abi/collectives.h"

#include <cstdio>
#include <vector>

#include "abi/paddle_exception.h"
#include "abi/runtime.h"
#include "adapter_sdk/collectives_table.h"
#include "adapter_sdk/device.h"

namespace adapter::abi {
namespace {

struct C_RootId {
  size_t size;
  void* data;
};
using C_Comm = void*;

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

Collectives& collectives() { return *plugin_device().collectives(); }

// Errors travel as the exception that Paddle turns into a Python one; of a bare status it reports only the number.
template <typename Work>
PD_Status raising(const char* what, Work&& work) {
  const auto where = [&](const char* error) { return std::string(plugin_info().name) + ": " + what + ": " + error; };
  try {
    work();
    return PD_SUCCESS;
  } catch (const Error& error) {
    set_last_error(error.what());
    throw_to_paddle(error.paddle_code(), where(error.what()));
  } catch (const std::exception& error) {
    set_last_error(error.what());
    throw_to_paddle(12, where(error.what()));
  }
}

CollectiveTarget target_of(C_Comm comm, C_Stream stream) {
  if (comm == nullptr) throw InvalidArgument("the communicator is NULL: it was never made, or is destroyed");
  const int card = current_card();
  return {comm, card, stream != nullptr ? stream : default_stream(card)};
}

DType dtype_of_paddle(PD_DataType dtype) {
  if (size_of(static_cast<DType>(dtype)) == 0)
    throw InvalidArgument("data type number " + std::to_string(dtype) + " of Paddle's C API cannot be communicated");
  return static_cast<DType>(dtype);
}

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

// ---- communicators
constexpr size_t kNameBytes = 128;  // of the buffer that Paddle passes

PD_Status get_comm_name(C_Comm comm, char* name) {
  return raising("name of a communicator", [&] {
    std::snprintf(name, kNameBytes, "%s", comm == nullptr ? "none" : collectives().name(comm).c_str());
  });
}
PD_Status get_unique_id_size(size_t* size) {
  return raising("size of a unique id", [&] { *size = collectives().unique_id_bytes(); });
}
PD_Status get_unique_id(C_RootId* id) {
  return raising("making a unique id", [&] {
    if (id->size < collectives().unique_id_bytes())
      throw InvalidArgument("Paddle offers " + std::to_string(id->size) + " bytes for a unique id of " +
                            std::to_string(collectives().unique_id_bytes()));
    collectives().make_unique_id(id->data);
  });
}
PD_Status comm_init_rank(size_t ranks, C_RootId* id, size_t rank, C_Comm* comm) {
  return raising("joining a communicator", [&] {
    count(kCommInit);
    *comm = collectives().create(current_card(), ranks, id->data, rank);
  });
}
// Paddle destroys communicators from destructors, where nothing may be thrown.
PD_Status destroy_comm(C_Comm comm) {
  try {
    count(kCommDestroy);
    if (comm != nullptr) collectives().destroy(comm);
    return PD_SUCCESS;
  } catch (const std::exception& error) {
    set_last_error(error.what());
    return PD_FAILED;
  }
}

// ---- operations
PD_Status all_reduce(void* send, void* recv, size_t count, PD_DataType dtype, int op, C_Comm comm, C_Stream stream) {
  return raising("all_reduce", [&] {
    enqueue({kAllReduce, target_of(comm, stream), send, recv, count, dtype_of_paddle(dtype), static_cast<ReduceOp>(op)},
            [](const Call& c) { collectives().all_reduce(c.on, c.send, c.recv, c.count, c.dtype, c.op); });
  });
}
PD_Status broadcast(void* data, size_t count, PD_DataType dtype, size_t root, C_Comm comm, C_Stream stream) {
  return raising("broadcast", [&] {
    enqueue({kBroadcast, target_of(comm, stream), data, data, count, dtype_of_paddle(dtype), ReduceOp::sum, root},
            [](const Call& c) { collectives().broadcast(c.on, c.recv, c.count, c.dtype, c.peer); });
  });
}
PD_Status reduce(void* send, void* recv, size_t count, PD_DataType dtype, int op, size_t root, C_Comm comm,
                 C_Stream stream) {
  return raising("reduce", [&] {
    enqueue(
        {kReduce, target_of(comm, stream), send, recv, count, dtype_of_paddle(dtype), static_cast<ReduceOp>(op), root},
        [](const Call& c) { collectives().reduce(c.on, c.send, c.recv, c.count, c.dtype, c.op, c.peer); });
  });
}
PD_Status all_gather(void* send, void* recv, size_t count, PD_DataType dtype, C_Comm comm, C_Stream stream) {
  return raising("all_gather", [&] {
    enqueue({kAllGather, target_of(comm, stream), send, recv, count, dtype_of_paddle(dtype)},
            [](const Call& c) { collectives().all_gather(c.on, c.send, c.recv, c.count, c.dtype); });
  });
}
PD_Status reduce_scatter(void* send, void* recv, size_t count, PD_DataType dtype, int op, C_Comm comm,
                         C_Stream stream) {
  return raising("reduce_scatter", [&] {
    enqueue(
        {kReduceScatter, target_of(comm, stream), send, recv, count, dtype_of_paddle(dtype), static_cast<ReduceOp>(op)},
        [](const Call& c) { collectives().reduce_scatter(c.on, c.send, c.recv, c.count, c.dtype, c.op); });
  });
}
PD_Status group_start() {
  return raising("group_start", [] { collectives().group_start(); });
}
PD_Status group_end() {
  return raising("group_end", [] { collectives().group_end(); });
}
PD_Status send(void* data, size_t count, PD_DataType dtype, size_t peer, C_Comm comm, C_Stream stream) {
  return raising("send", [&] {
    enqueue({kSend, target_of(comm, stream), data, nullptr, count, dtype_of_paddle(dtype), ReduceOp::sum, peer},
            [](const Call& c) { collectives().send(c.on, c.send, c.count, c.dtype, c.peer); });
  });
}
PD_Status recv(void* data, size_t count, PD_DataType dtype, size_t peer, C_Comm comm, C_Stream stream) {
  return raising("recv", [&] {
    enqueue({kRecv, target_of(comm, stream), nullptr, data, count, dtype_of_paddle(dtype), ReduceOp::sum, peer},
            [](const Call& c) { collectives().recv(c.on, c.recv, c.count, c.dtype, c.peer); });
  });
}
PD_Status all_to_all(const void** send, const size_t* send_count, const PD_DataType* send_dtype, void** recv,
                     const size_t* recv_count, const PD_DataType* recv_dtype, size_t /*rank*/, size_t ranks,
                     C_Comm comm, C_Stream stream) {
  return raising("all_to_all", [&] {
    std::vector<CollectivePart> out(ranks), in(ranks);
    for (size_t i = 0; i < ranks; ++i) {
      out[i] = {const_cast<void*>(send[i]), send_count[i], dtype_of_paddle(send_dtype[i])};
      in[i] = {recv[i], recv_count[i], dtype_of_paddle(recv_dtype[i])};
    }
    const Call call{kAllToAll, target_of(comm, stream), send[0], recv[0], send_count[0], out[0].dtype};
    enqueue(call, [&](const Call& c) {
      out[0].data = const_cast<void*>(c.send);
      in[0].data = c.recv;
      collectives().all_to_all(c.on, out.data(), in.data());
    });
  });
}

void set_interposer(AdapterCollectiveInterposer interposer, void* user) {
  interposer_user = user;
  interposer_function = interposer;
}

}  // namespace

void fill_collectives(PD_DeviceInterfacePrefix* interface, const Layout& layout) {
  if (plugin_device().collectives() == nullptr) return;
  const auto set = [&](short offset, auto function) {
    if (offset >= 0)
      *reinterpret_cast<void**>(reinterpret_cast<char*>(interface) + offset) = reinterpret_cast<void*>(function);
  };
  set(layout.xccl_get_comm_name, get_comm_name);
  set(layout.xccl_get_unique_id_size, get_unique_id_size);
  set(layout.xccl_get_unique_id, get_unique_id);
  set(layout.xccl_comm_init_rank, comm_init_rank);
  set(layout.xccl_destroy_comm, destroy_comm);
  set(layout.xccl_all_reduce, all_reduce);
  set(layout.xccl_broadcast, broadcast);
  set(layout.xccl_reduce, reduce);
  set(layout.xccl_all_gather, all_gather);
  set(layout.xccl_reduce_scatter, reduce_scatter);
  set(layout.xccl_group_start, group_start);
  set(layout.xccl_group_end, group_end);
  set(layout.xccl_send, send);
  set(layout.xccl_recv, recv);
  set(layout.xccl_all_to_all, all_to_all);
}

}  // namespace adapter::abi

extern "C" __attribute__((visibility("default"))) const AdapterCollectivesTable adapter_sdk_collectives_table = {
    sizeof(AdapterCollectivesTable), adapter::abi::kOperations, adapter::abi::rows, adapter::abi::set_interposer};
