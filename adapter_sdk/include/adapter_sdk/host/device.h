// A device whose memory is the host's and whose work is done when a call returns: what a new plugin starts from.
// Derive from it and replace one method after the other by the chip's own.
#pragma once

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_map>

#include "adapter_sdk/device.h"

namespace adapter::host {

class HostDevice : public Device {
 public:
  explicit HostDevice(size_t memory_bytes) : memory_bytes_(memory_bytes) {}

  int card_count() override { return 1; }
  size_t memory_bytes(int /*card*/) override { return memory_bytes_; }

  // ---- memory
  void* allocate(int /*card*/, size_t bytes) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (bytes > memory_bytes_ - allocated_)
      throw OutOfMemory("no memory for " + std::to_string(bytes) + " bytes: " + std::to_string(allocated_) + " of " +
                        std::to_string(memory_bytes_) + " bytes are in use");
    void* address = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    if (address == nullptr) throw OutOfMemory("the host has no memory for " + std::to_string(bytes) + " bytes");
    sizes_.emplace(address, bytes);
    allocated_ += bytes;
    return address;
  }
  void deallocate(int /*card*/, void* address, size_t /*bytes*/) override {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = sizes_.find(address);
    if (found == sizes_.end()) throw InvalidArgument("memory is given back that was not handed out, or twice");
    allocated_ -= found->second;
    sizes_.erase(found);
    std::free(address);
  }
  MemoryStats memory_stats(int /*card*/) override {
    std::lock_guard<std::mutex> lock(mutex_);
    return {memory_bytes_, memory_bytes_ - allocated_};
  }
  size_t allocated_bytes(int /*card*/) override {
    std::lock_guard<std::mutex> lock(mutex_);
    return allocated_;
  }

  // ---- copies
  void copy(int /*card*/, CopyKind /*kind*/, void* dst, const void* src, size_t bytes) override {
    std::memmove(dst, src, bytes);
  }
  void copy_peer(int /*dst_card*/, int /*src_card*/, void* dst, const void* src, size_t bytes) override {
    std::memmove(dst, src, bytes);
  }
  void fill(int /*card*/, void* address, uint8_t value, size_t bytes) override { std::memset(address, value, bytes); }
  void copy_async(int card, StreamHandle /*stream*/, CopyKind kind, void* dst, const void* src, size_t bytes) override {
    copy(card, kind, dst, src, bytes);
  }
  void copy_peer_async(int dst_card, int src_card, StreamHandle /*stream*/, void* dst, const void* src,
                       size_t bytes) override {
    copy_peer(dst_card, src_card, dst, src, bytes);
  }

  // ---- streams and events: nothing is ever pending
  StreamHandle create_stream(int /*card*/) override { return new char; }
  void destroy_stream(int /*card*/, StreamHandle stream) override { delete static_cast<char*>(stream); }
  bool stream_done(int /*card*/, StreamHandle /*stream*/) override { return true; }
  void synchronize_stream(int /*card*/, StreamHandle /*stream*/) override {}
  void add_callback(int /*card*/, StreamHandle /*stream*/, std::function<void()> callback) override { callback(); }
  EventHandle create_event(int /*card*/) override { return new char; }
  void destroy_event(int /*card*/, EventHandle event) override { delete static_cast<char*>(event); }
  void record_event(int /*card*/, StreamHandle /*stream*/, EventHandle /*event*/) override {}
  bool event_done(int /*card*/, EventHandle /*event*/) override { return true; }
  void synchronize_event(int /*card*/, EventHandle /*event*/) override {}
  void wait_event(int /*card*/, StreamHandle /*stream*/, EventHandle /*event*/) override {}
  void synchronize(int /*card*/) override {}

  bool supports(DType dtype) override { return dtype == DType::float16 || dtype == DType::bfloat16; }

 private:
  static constexpr size_t kAlignment = 256;  // bytes
  const size_t memory_bytes_;
  std::mutex mutex_;
  size_t allocated_ = 0;
  std::unordered_map<void*, size_t> sizes_;
};

}  // namespace adapter::host
