// adapter::Device whose memory and streams are Python functions.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "adapter_sdk/device.h"
#include "bridge/arena.h"
#include "bridge/arrays.h"

namespace adapter::bridge {

class PythonDevice final : public Device {
 public:
  // `memory` and `streams` are the records MemoryFunctions and StreamFunctions; `streams` is None for a device whose
  // work is done when a call returns. Asks Python for the memory of every card. Needs the interpreter's lock.
  PythonDevice(PyObject* memory, PyObject* streams, std::vector<size_t> memory_bytes, const ArrayMaker& arrays);

  int card_count() override { return static_cast<int>(arenas_.size()); }
  size_t memory_bytes(int card) override { return arena(card).total(); }
  void* allocate(int card, size_t bytes) override { return arena(card).allocate(bytes); }
  void deallocate(int card, void* address, size_t bytes) override;
  MemoryStats memory_stats(int card) override { return {arena(card).total(), arena(card).free_bytes()}; }
  size_t allocated_bytes(int card) override { return arena(card).handed_out(); }

  void copy(int card, CopyKind kind, void* dst, const void* src, size_t bytes) override;
  void copy_peer(int dst_card, int src_card, void* dst, const void* src, size_t bytes) override;
  void fill(int card, void* address, uint8_t value, size_t bytes) override;
  void copy_async(int card, StreamHandle stream, CopyKind kind, void* dst, const void* src, size_t bytes) override;
  void copy_peer_async(int dst_card, int src_card, StreamHandle stream, void* dst, const void* src,
                       size_t bytes) override;

  StreamHandle create_stream(int card) override;
  void destroy_stream(int card, StreamHandle stream) override;
  bool stream_done(int card, StreamHandle stream) override;
  void synchronize_stream(int card, StreamHandle stream) override;
  void add_callback(int card, StreamHandle stream, std::function<void()> callback) override;

  EventHandle create_event(int card) override;
  void destroy_event(int card, EventHandle event) override;
  void record_event(int card, StreamHandle stream, EventHandle event) override;
  bool event_done(int card, EventHandle event) override;
  void synchronize_event(int card, EventHandle event) override;
  void wait_event(int card, StreamHandle stream, EventHandle event) override;

  void synchronize(int card) override;

 private:
  Arena& arena(int card);
  Ref call(PyObject* function, const char* format, ...);
  void add_stream(int card, PyObject* stream);

  std::vector<std::unique_ptr<Arena>> arenas_;
  const ArrayMaker& arrays_;
  bool synchronous_;
  PyObject *copy_, *fill_, *create_ = nullptr, *destroy_ = nullptr, *synchronize_ = nullptr, *done_ = nullptr,
                           *record_ = nullptr, *wait_ = nullptr, *event_done_ = nullptr, *synchronize_event_ = nullptr,
                           *call_ = nullptr;
  std::mutex streams_mutex_;
  std::vector<std::pair<int, PyObject*>> streams_;  // every living stream, with its card
};

}  // namespace adapter::bridge
