#include "machine.h"

#include <sched.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <cstdlib>

#include "adapter_sdk/error.h"

namespace refchip {
namespace {

constexpr size_t kMinMemory = size_t{1} << 20;
constexpr size_t kMaxMemory = size_t{1} << 40;  // 64 such cards still fit an address space of 47 bits

// Reads decimal digits from the front of `text`; false when there are none or the number is too large.
bool take_number(std::string& text, uint64_t& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc()) return false;
  text.erase(0, static_cast<size_t>(stop - text.data()));
  return true;
}

// Exponent of two for a unit suffix, or -1.
int shift_of(const std::string& suffix) {
  if (suffix.empty()) return 0;
  if (suffix.size() > 1) return -1;
  switch (std::toupper(static_cast<unsigned char>(suffix[0]))) {
    case 'K': return 10;
    case 'M': return 20;
    case 'G': return 30;
    default: return -1;
  }
}

int allowed_processors() {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

Machine read_environment() {
  Machine result;
  const char* threads = std::getenv("REFCHIP_THREADS");
  result.threads = threads != nullptr ? parse_threads(threads) : std::min(allowed_processors(), kMaxThreads);
  if (const char* cards = std::getenv("REFCHIP_CARDS")) result.cards = parse_cards(cards);
  if (const char* memory = std::getenv("REFCHIP_MEMORY")) result.memory_bytes = parse_memory(memory);
  return result;
}

}  // namespace

int parse_cards(const std::string& text) {
  std::string rest = text;
  uint64_t cards = 0;
  if (!take_number(rest, cards) || !rest.empty() || cards > static_cast<uint64_t>(kMaxCards))
    throw adapter::InvalidArgument("REFCHIP_CARDS is \"" + text + "\", but must be a whole number from 0 to " +
                                   std::to_string(kMaxCards) + "; correct it or unset it to get 2 cards");
  return static_cast<int>(cards);
}

int parse_threads(const std::string& text) {
  std::string rest = text;
  uint64_t threads = 0;
  if (!take_number(rest, threads) || !rest.empty() || threads < 1 || threads > static_cast<uint64_t>(kMaxThreads))
    throw adapter::InvalidArgument("REFCHIP_THREADS is \"" + text + "\", but must be a whole number from 1 to " +
                                   std::to_string(kMaxThreads) + "; correct it or unset it to use every processor");
  return static_cast<int>(threads);
}

size_t parse_memory(const std::string& text) {
  std::string rest = text;
  uint64_t value = 0;
  const bool has_number = take_number(rest, value);
  const int shift = shift_of(rest);
  if (!has_number || shift < 0 || value > (kMaxMemory >> shift) || (value << shift) < kMinMemory)
    throw adapter::InvalidArgument("REFCHIP_MEMORY is \"" + text +
                                   "\", but must be a number of bytes from 1M to 1024G, such as 268435456, 256M or "
                                   "4G; correct it or unset it to get 4G a card");
  return static_cast<size_t>(value << shift);
}

const Machine& machine() {
  static const Machine result = read_environment();  // a throwing initializer is tried again at the next call
  return result;
}

void require_card(int card) {
  const int cards = machine().cards;
  if (card < 0 || card >= cards)
    throw adapter::InvalidArgument(card_name(card) + " does not exist: this machine has " + std::to_string(cards) +
                                   " card(s), numbered from 0; REFCHIP_CARDS sets how many");
}

std::string card_name(int card) { return std::string(kDeviceType) + ":" + std::to_string(card); }

}  // namespace refchip
