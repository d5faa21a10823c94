#include "card.h"

#include <algorithm>
#include <utility>

#include "adapter_sdk/error.h"
#include "machine.h"

namespace refchip {

Card::Card(int number) : number_(number), memory_(number, machine().memory_bytes) {}

Stream* Card::create_stream() {
  const std::lock_guard<std::mutex> lock(mutex_);
  streams_.push_back(std::make_shared<Stream>(number_, created_));
  ++created_;
  return streams_.back().get();
}

void Card::destroy_stream(Stream* stream) {
  const std::shared_ptr<Stream> owner = find(stream);
  if (owner == nullptr)
    throw adapter::DeviceError("cannot destroy a stream: " + card_name(number_) +
                               " has no such stream; was it destroyed before?");
  owner->close();
  std::optional<std::string> error = owner->take_error();
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!left_behind_) left_behind_ = std::move(error);
  streams_.erase(std::remove(streams_.begin(), streams_.end(), owner), streams_.end());
}

std::shared_ptr<Stream> Card::find(const Stream* stream) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found =
      std::find_if(streams_.begin(), streams_.end(), [&](const auto& own) { return own.get() == stream; });
  return found == streams_.end() ? nullptr : *found;
}

std::vector<std::shared_ptr<Stream>> Card::streams() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return streams_;
}

void Card::drain() const {
  for (const std::shared_ptr<Stream>& stream : streams()) stream->wait(stream->submitted());
}

void Card::drain_until(std::chrono::steady_clock::time_point deadline) const {
  for (const std::shared_ptr<Stream>& stream : streams())
    if (!stream->wait_until(stream->submitted(), deadline)) return;
}

void Card::synchronize() {
  drain();
  throw_first_error();
}

void Card::synchronize_and_check() {
  drain();
  memory_.check_guards();
  throw_first_error();
}

void Card::throw_first_error() {
  std::optional<std::string> first;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    first = std::exchange(left_behind_, std::nullopt);
  }
  const auto keep = [&](std::optional<std::string> error) {
    if (!first) first = std::move(error);
  };
  for (const std::shared_ptr<Stream>& stream : streams()) keep(stream->take_error());
  keep(memory_.take_error());
  if (first) throw adapter::DeviceError(*first);
}

}  // namespace refchip
