// Collective operations between processes on memory of the host. Knows nothing of Paddle or of streams.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "collectives/exchange.h"

namespace adapter::collectives {

// Calls block until this rank's part is done. They may come from any thread, one at a time takes effect. After an error
// the communicator is lost for all ranks: every later call throws with the first reason.
// Results do not depend on timing: every element is reduced in the order of the ranks, half types in float32.
class Communicator {
 public:
  struct Part {
    void* data;
    size_t bytes;
  };
  struct Transfer {
    bool sends;
    void* data;  // only read when it sends
    size_t count;
    DType dtype;
    size_t peer;
  };

  // See Mesh::join.
  Communicator(const UniqueId& id, size_t rank, size_t ranks, const Options& options, const SharedMemory& memory = {});
  ~Communicator();

  size_t rank() const { return mesh_.rank; }
  size_t ranks() const { return mesh_.ranks; }
  const std::string& name() const { return name_; }  // "communicator 3 (rank 0 of 4)"
  // What carries the data to the peers: "shm", "tcp", or "shm and tcp".
  std::string transport() const;

  void all_reduce(const void* send, void* recv, size_t count, DType dtype, ReduceOp op);
  void broadcast(void* data, size_t count, DType dtype, size_t root);
  void reduce(const void* send, void* recv, size_t count, DType dtype, ReduceOp op, size_t root);
  // `count` elements of each rank.
  void all_gather(const void* send, void* recv, size_t count, DType dtype);
  void reduce_scatter(const void* send, void* recv, size_t count, DType dtype, ReduceOp op);
  // Parts by rank. Both sides of a pair have to give the same size; their own parts too.
  void all_to_all(const std::vector<Part>& send, const std::vector<Part>& recv);
  void barrier();
  // All at once, in any order; those between one pair keep theirs. A single send returns within milliseconds
  // even when its receiver is not there: what has not been taken by then is copied and left behind. The destructor
  // gives it a few seconds more.
  void transfer(const std::vector<Transfer>& transfers);

 private:
  template <typename Work>
  void operate(Envelope envelope, Work&& work);
  void greet(const Envelope& envelope);
  void fail(const std::string& reason);
  void help();
  void require_peer(size_t peer, const char* role) const;
  void reduce_at_once(const std::byte* send, std::byte* recv, size_t count, DType dtype, ReduceOp op);
  void reduce_in_parts(const std::byte* send, std::byte* recv, size_t count, DType dtype, ReduceOp op);

  std::mutex mutex_;
  const Options options_;
  Mesh mesh_;
  const std::string name_;
  Exchange exchange_;
  uint64_t number_ = 0;
  std::string lost_;
  // Goes on with messages that were left behind while no call does; started by the first of them.
  std::thread helper_;
  std::condition_variable left_behind_;
  bool closing_ = false;
};

}  // namespace adapter::collectives
