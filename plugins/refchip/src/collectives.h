// The SDK's communicator between processes, on refchip's streams and memory.
#pragma once

#include "adapter_sdk/collectives.h"

namespace refchip {

class RefchipDevice;

// A collective is a task of the stream it is given to: it waits there for the other ranks, and what goes wrong is an
// error of the stream. Addresses and sizes are checked when the call is made.
class RefchipCollectives final : public adapter::Collectives {
 public:
  using Target = adapter::CollectiveTarget;
  using DType = adapter::DType;
  using ReduceOp = adapter::ReduceOp;

  explicit RefchipCollectives(RefchipDevice& device) : device_(device) {}

  size_t unique_id_bytes() override;
  void make_unique_id(void* id) override;
  adapter::CommunicatorHandle create(int card, size_t ranks, const void* id, size_t rank) override;
  void destroy(adapter::CommunicatorHandle communicator) override;
  std::string name(adapter::CommunicatorHandle communicator) override;
  size_t ranks(adapter::CommunicatorHandle communicator) override;
  size_t rank(adapter::CommunicatorHandle communicator) override;

  void all_reduce(const Target& on, const void* send, void* recv, size_t count, DType dtype, ReduceOp op) override;
  void broadcast(const Target& on, void* data, size_t count, DType dtype, size_t root) override;
  void reduce(const Target& on, const void* send, void* recv, size_t count, DType dtype, ReduceOp op,
              size_t root) override;
  void all_gather(const Target& on, const void* send, void* recv, size_t count, DType dtype) override;
  void reduce_scatter(const Target& on, const void* send, void* recv, size_t count, DType dtype, ReduceOp op) override;
  void all_to_all(const Target& on, const adapter::CollectivePart* send, const adapter::CollectivePart* recv) override;
  void send(const Target& on, const void* data, size_t count, DType dtype, size_t peer) override;
  void recv(const Target& on, void* data, size_t count, DType dtype, size_t peer) override;
  void group_start() override;
  void group_end() override;

 private:
  template <typename Work>
  void submit(const Target& on, Work&& work);
  void transfer(const Target& on, bool sends, void* data, size_t count, DType dtype, size_t peer);
  void* reachable(int card, const void* address, size_t bytes, const char* role);

  RefchipDevice& device_;
};

}  // namespace refchip
