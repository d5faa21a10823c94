#include "abi/collectives.h"

#include <cstdio>
#include <vector>

#include "abi/collective_calls.h"
#include "abi/paddle_exception.h"
#include "abi/runtime.h"
#include "adapter_sdk/device.h"

namespace adapter::abi {
namespace {

struct C_RootId {
  size_t size;
  void* data;
};
using C_Comm = void*;

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
  return raising("joining a communicator", [&] { *comm = join_communicator(current_card(), ranks, id->data, rank); });
}
// Paddle destroys communicators from destructors, where nothing may be thrown.
PD_Status destroy_comm(C_Comm comm) {
  try {
    leave_communicator(comm);
    return PD_SUCCESS;
  } catch (const std::exception& error) {
    set_last_error(error.what());
    return PD_FAILED;
  }
}

// ---- operations
PD_Status all_reduce(void* send, void* recv, size_t count, PD_DataType dtype, int op, C_Comm comm, C_Stream stream) {
  return raising("all_reduce", [&] {
    call_all_reduce(target_of(comm, stream), send, recv, count, dtype_of_paddle(dtype), static_cast<ReduceOp>(op));
  });
}
PD_Status broadcast(void* data, size_t count, PD_DataType dtype, size_t root, C_Comm comm, C_Stream stream) {
  return raising("broadcast",
                 [&] { call_broadcast(target_of(comm, stream), data, count, dtype_of_paddle(dtype), root); });
}
PD_Status reduce(void* send, void* recv, size_t count, PD_DataType dtype, int op, size_t root, C_Comm comm,
                 C_Stream stream) {
  return raising("reduce", [&] {
    call_reduce(target_of(comm, stream), send, recv, count, dtype_of_paddle(dtype), static_cast<ReduceOp>(op), root);
  });
}
PD_Status all_gather(void* send, void* recv, size_t count, PD_DataType dtype, C_Comm comm, C_Stream stream) {
  return raising("all_gather",
                 [&] { call_all_gather(target_of(comm, stream), send, recv, count, dtype_of_paddle(dtype)); });
}
PD_Status reduce_scatter(void* send, void* recv, size_t count, PD_DataType dtype, int op, C_Comm comm,
                         C_Stream stream) {
  return raising("reduce_scatter", [&] {
    call_reduce_scatter(target_of(comm, stream), send, recv, count, dtype_of_paddle(dtype), static_cast<ReduceOp>(op));
  });
}
PD_Status group_start() {
  return raising("group_start", [] { collectives().group_start(); });
}
PD_Status group_end() {
  return raising("group_end", [] { collectives().group_end(); });
}
PD_Status send(void* data, size_t count, PD_DataType dtype, size_t peer, C_Comm comm, C_Stream stream) {
  return raising("send", [&] { call_send(target_of(comm, stream), data, count, dtype_of_paddle(dtype), peer); });
}
PD_Status recv(void* data, size_t count, PD_DataType dtype, size_t peer, C_Comm comm, C_Stream stream) {
  return raising("recv", [&] { call_recv(target_of(comm, stream), data, count, dtype_of_paddle(dtype), peer); });
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
    call_all_to_all(target_of(comm, stream), std::move(out), std::move(in));
  });
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
