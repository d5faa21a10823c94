// The machine that refchip pretends to be, as set by the environment.
#pragma once

#include <cstddef>
#include <string>

namespace refchip {

inline constexpr const char* kDeviceType = "refchip";
inline constexpr int kMaxCards = 64;
inline constexpr int kMaxThreads = 256;

struct Machine {
  int cards = 2;
  size_t memory_bytes = size_t{4} << 30;  // of each card
  int threads = 1;                        // that one kernel may use
};

// Read once from REFCHIP_CARDS (0 to 64) and REFCHIP_MEMORY (bytes of each card, with an optional suffix K, M or G for
// powers of 1024; at least 1M) and REFCHIP_THREADS (1 to 256; unset: the processors that this process may use). Throws
// adapter::InvalidArgument naming the variable and its value when one is malformed.
const Machine& machine();

// Throws adapter::InvalidArgument when the machine has no such card.
void require_card(int card);

int parse_cards(const std::string& text);
int parse_threads(const std::string& text);
size_t parse_memory(const std::string& text);

// "refchip:1"
std::string card_name(int card);

}  // namespace refchip
