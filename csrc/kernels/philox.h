// Philox4x32-10, a counter-based generator: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy
// as 1, 2, 3", SC '11, table 2 and section 3.3. Number i of a draw is a function of (seed, draw, i) alone, so that the
// result does not depend on how the work is divided.
#pragma once

#include <array>
#include <cstdint>

#include "adapter_sdk/context.h"

namespace adapter::kernels {

using PhiloxBlock = std::array<uint32_t, 4>;

inline PhiloxBlock philox(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * counter[0], second = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(second >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(second),
               static_cast<uint32_t>(first >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(first)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// kPhiloxLanes blocks at a time, word by word, so that the rounds become vector instructions.
inline constexpr int64_t kPhiloxLanes = 16;
struct PhiloxBlocks {
  uint32_t words[4][kPhiloxLanes];
};

inline void philox(PhiloxBlocks& counters, std::array<uint32_t, 2> key) {
  auto& w = counters.words;
  for (int round = 0; round < 10; ++round) {
    for (int64_t l = 0; l < kPhiloxLanes; ++l) {
      const uint64_t first = uint64_t{0xD2511F53} * w[0][l], second = uint64_t{0xCD9E8D57} * w[2][l];
      const uint32_t a = static_cast<uint32_t>(second >> 32) ^ w[1][l] ^ key[0];
      const uint32_t c = static_cast<uint32_t>(first >> 32) ^ w[3][l] ^ key[1];
      w[0][l] = a, w[1][l] = static_cast<uint32_t>(second), w[2][l] = c, w[3][l] = static_cast<uint32_t>(first);
    }
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
}

// One draw: an endless sequence of random blocks that can be entered anywhere.
class RandomDraw {
 public:
  RandomDraw(uint64_t seed, uint64_t draw) : seed_(seed), draw_(draw) {}

  PhiloxBlock block(int64_t number) const {
    const auto n = static_cast<uint64_t>(number);
    return philox({low(n), high(n), low(draw_), high(draw_)}, {low(seed_), high(seed_)});
  }

  // The kPhiloxLanes blocks from `number` on.
  PhiloxBlocks blocks(int64_t number) const {
    PhiloxBlocks result;
    for (int64_t l = 0; l < kPhiloxLanes; ++l) {
      const auto n = static_cast<uint64_t>(number + l);
      result.words[0][l] = low(n), result.words[1][l] = high(n);
      result.words[2][l] = low(draw_), result.words[3][l] = high(draw_);
    }
    philox(result, {low(seed_), high(seed_)});
    return result;
  }
  // Number i of the draw as 64 random bits; two of them lie in one block.
  uint64_t bits(int64_t i) const {
    const PhiloxBlock words = block(i / 2);
    const size_t at = i % 2 == 0 ? 0 : 2;
    return uint64_t{words[at + 1]} << 32 | words[at];
  }
  // Number i of the draw, uniform in [0, 1): a multiple of 2^-53.
  double unit(int64_t i) const { return static_cast<double>(bits(i) >> 11) * 0x1p-53; }

 private:
  static uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
  static uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
  uint64_t seed_, draw_;
};

// The next draw of the card's generator, or, for a seed that is not zero, the one draw that belongs to it.
inline RandomDraw next_draw(Context& ctx, int32_t seed) {
  if (seed != 0) return RandomDraw(static_cast<uint64_t>(static_cast<int64_t>(seed)), 0);
  const auto [own_seed, number] = ctx.random(1);
  return RandomDraw(own_seed, number);
}

}  // namespace adapter::kernels
