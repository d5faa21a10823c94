// One card: its memory and its streams.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "allocator.h"
#include "event.h"
#include "stream.h"

namespace refchip {

class Card {
 public:
  explicit Card(int number);

  Allocator& memory() { return memory_; }

  Stream* create_stream();
  // Finishes its work first. An error that it leaves behind is reported by the card's next synchronisation.
  void destroy_stream(Stream* stream);
  // The shared owner of a stream of this card, or NULL.
  std::shared_ptr<Stream> find(const Stream* stream) const;
  std::vector<std::shared_ptr<Stream>> streams() const;

  // Waits for all work given to the card so far; errors of that work stay where they are.
  void drain() const;
  void drain_until(std::chrono::steady_clock::time_point deadline) const;
  // drain(), then throws the first error among those of its streams and its guard zones. All of them are consumed.
  void synchronize();
  // synchronize(), with the guard zones of every live allocation looked at in between.
  void synchronize_and_check();

 private:
  void throw_first_error();

  const int number_;
  Allocator memory_;
  mutable std::mutex mutex_;
  int created_ = 0;
  std::vector<std::shared_ptr<Stream>> streams_;
  std::optional<std::string> left_behind_;  // by a destroyed stream
};

}  // namespace refchip
