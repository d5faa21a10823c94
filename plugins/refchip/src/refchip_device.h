// refchip, the software accelerator: what the SDK asks of a device, answered with memory and threads of the host.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "adapter_sdk/device.h"
#include "card.h"
#include "event.h"

namespace refchip {

// In a process forked from one that was using the device, everything that would touch it throws DeviceError; giving
// back what belongs to the parent (memory, streams, events) does nothing there, so that such a process can clean up and
// exit.
class RefchipDevice final : public adapter::Device {
 public:
  int card_count() override;
  size_t memory_bytes(int card) override;

  void* allocate(int card, size_t bytes) override;
  void deallocate(int card, void* address, size_t bytes) override;
  adapter::MemoryStats memory_stats(int card) override;
  size_t allocated_bytes(int card) override;

  void copy(int card, adapter::CopyKind kind, void* dst, const void* src, size_t bytes) override;
  void copy_peer(int dst_card, int src_card, void* dst, const void* src, size_t bytes) override;
  void fill(int card, void* address, uint8_t value, size_t bytes) override;
  void copy_async(int card, adapter::StreamHandle stream, adapter::CopyKind kind, void* dst, const void* src,
                  size_t bytes) override;
  void copy_peer_async(int dst_card, int src_card, adapter::StreamHandle stream, void* dst, const void* src,
                       size_t bytes) override;

  adapter::StreamHandle create_stream(int card) override;
  void destroy_stream(int card, adapter::StreamHandle stream) override;
  bool stream_done(int card, adapter::StreamHandle stream) override;
  void synchronize_stream(int card, adapter::StreamHandle stream) override;
  void add_callback(int card, adapter::StreamHandle stream, std::function<void()> callback) override;

  adapter::EventHandle create_event(int card) override;
  void destroy_event(int card, adapter::EventHandle event) override;
  void record_event(int card, adapter::StreamHandle stream, adapter::EventHandle event) override;
  bool event_done(int card, adapter::EventHandle event) override;
  void synchronize_event(int card, adapter::EventHandle event) override;
  void wait_event(int card, adapter::StreamHandle stream, adapter::EventHandle event) override;

  void synchronize(int card) override;

  adapter::Collectives* collectives() override;

  // What the device's other parts work with; both throw when there is no such card or stream.
  Card& card(int number);
  std::shared_ptr<Stream> stream(int card, adapter::StreamHandle handle);

 private:
  void require_copy(int card, adapter::CopyKind kind, const void* dst, const void* src, size_t bytes);
  void drain_at_exit();

  std::once_flag made_;
  std::once_flag exit_hook_;
  std::vector<std::unique_ptr<Card>> cards_;
};

}  // namespace refchip
