#include "adapter_sdk/ring.h"

#include "abi/collective_calls.h"
#include "abi/ring_contexts.h"
#include "adapter_sdk/device.h"

namespace adapter {
namespace {

// Memory of a card for the length of a scope.
class Scratch {
 public:
  Scratch(int card, size_t bytes) : card_(card), bytes_(bytes), data_(plugin_device().allocate(card, bytes)) {}
  ~Scratch() { plugin_device().deallocate(card_, data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const { return data_; }

 private:
  int card_;
  size_t bytes_;
  void* data_;
};

}  // namespace

Ring::Ring(Context& ctx) : target_(abi::ring_of_kernel(ctx)) {}

size_t Ring::ranks() const { return abi::collectives().ranks(target_.communicator); }
size_t Ring::rank() const { return abi::collectives().rank(target_.communicator); }

void Ring::all_reduce(const void* send, void* recv, size_t count, DType dtype, ReduceOp op) {
  abi::call_all_reduce(target_, send, recv, count, dtype, op);
}
void Ring::broadcast(void* data, size_t count, DType dtype, size_t root) {
  abi::call_broadcast(target_, data, count, dtype, root);
}
void Ring::reduce(const void* send, void* recv, size_t count, DType dtype, ReduceOp op, size_t root) {
  abi::call_reduce(target_, send, recv, count, dtype, op, root);
}
void Ring::all_gather(const void* send, void* recv, size_t count, DType dtype) {
  abi::call_all_gather(target_, send, recv, count, dtype);
}
void Ring::reduce_scatter(const void* send, void* recv, size_t count, DType dtype, ReduceOp op) {
  abi::call_reduce_scatter(target_, send, recv, count, dtype, op);
}
void Ring::all_to_all(const std::vector<CollectivePart>& send, const std::vector<CollectivePart>& recv) {
  abi::call_all_to_all(target_, send, recv);
}
void Ring::send(const void* data, size_t count, DType dtype, size_t peer) {
  abi::call_send(target_, data, count, dtype, peer);
}
void Ring::recv(void* data, size_t count, DType dtype, size_t peer) {
  abi::call_recv(target_, data, count, dtype, peer);
}

void Ring::copy(void* to, const void* from, size_t bytes) {
  if (to != from && bytes > 0)
    plugin_device().copy_async(target_.card, target_.stream, CopyKind::device_to_device, to, from, bytes);
}

void Ring::send_integers(const std::vector<int64_t>& values, size_t peer) {
  const size_t bytes = values.size() * sizeof(int64_t);
  const Scratch scratch(target_.card, bytes);
  plugin_device().copy(target_.card, CopyKind::host_to_device, scratch.data(), values.data(), bytes);
  send(scratch.data(), values.size(), DType::int64, peer);
  plugin_device().synchronize_stream(target_.card, target_.stream);
}

void Ring::recv_integers(std::vector<int64_t>& values, size_t peer) {
  const size_t bytes = values.size() * sizeof(int64_t);
  const Scratch scratch(target_.card, bytes);
  recv(scratch.data(), values.size(), DType::int64, peer);
  plugin_device().synchronize_stream(target_.card, target_.stream);
  plugin_device().copy(target_.card, CopyKind::device_to_host, values.data(), scratch.data(), bytes);
}

}  // namespace adapter
