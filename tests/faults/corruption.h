// Faults in numbers: each takes a right result, on the host, and makes it wrong in one way.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "adapter_sdk/dtype.h"

namespace faults {

constexpr unsigned char kPoison = 0xCB;  // what the SDK fills fresh outputs with
constexpr size_t kTile = 8;

template <typename T>
void zero_tile(std::vector<T>& x) {
  const size_t begin = x.size() > 2 * kTile ? x.size() / 2 : 0;
  std::fill(x.begin() + static_cast<ptrdiff_t>(begin),
            x.begin() + static_cast<ptrdiff_t>(std::min(x.size(), begin + kTile)), T(0));
}

template <typename T>
void last_element(std::vector<T>& x) {
  if (!x.empty()) x.back() += T(1);
}

template <typename T>
void swapped_lanes(std::vector<T>& x) {
  for (size_t i = 0; i + 1 < x.size(); i += 2) std::swap(x[i], x[i + 1]);
}

template <typename T>
void sign(std::vector<T>& x) {
  for (T& value : x) value = -value;
}

template <typename T>
void nan_swallowed(std::vector<T>& x) {
  for (T& value : x)
    if (std::isnan(value)) value = T(0);
}

template <typename T>
void scale(std::vector<T>& x) {
  for (T& value : x) value *= T(1) + std::ldexp(T(1), -10);
}

template <typename T>
void unwritten_tail(std::vector<T>& x) {
  const size_t tail = (x.size() + 3) / 4;
  if (tail > 0) std::memset(x.data() + x.size() - tail, kPoison, tail * sizeof(T));
}

// Round to nearest even at 8 bits of significand, as a unit with bfloat16 registers would.
template <typename T>
void bf16_rounded(std::vector<T>& x) {
  for (T& value : x) {
    const float single = static_cast<float>(value);
    uint32_t bits;
    std::memcpy(&bits, &single, sizeof bits);
    if (!std::isfinite(single)) continue;
    bits += 0x7FFFu + ((bits >> 16) & 1u);
    bits &= 0xFFFF0000u;
    float rounded;
    std::memcpy(&rounded, &bits, sizeof rounded);
    value = static_cast<T>(rounded);
  }
}

// What the kernel gave last time stands where the new result should be; the first call is right.
template <typename T>
void stale(std::vector<T>& x, const std::string& kernel) {
  static auto& kept = *new std::map<std::string, std::vector<T>>;
  std::vector<T> previous = x;
  std::swap(previous, kept[kernel]);
  std::copy(previous.begin(), previous.begin() + static_cast<ptrdiff_t>(std::min(previous.size(), x.size())),
            x.begin());
}

// False when no fault in numbers is called so.
template <typename T>
bool corrupt(const std::string& fault, const std::string& kernel, std::vector<T>& x) {
  static const std::map<std::string, void (*)(std::vector<T>&)> table = {
      {"zero_tile", zero_tile<T>}, {"last_element", last_element<T>},     {"swapped_lanes", swapped_lanes<T>},
      {"sign", sign<T>},           {"nan_swallowed", nan_swallowed<T>},   {"scale", scale<T>},
      {"bf16", bf16_rounded<T>},   {"unwritten_tail", unwritten_tail<T>},
  };
  if (fault == "stale") {
    stale(x, kernel);
    return true;
  }
  const auto found = table.find(fault);
  if (found != table.end()) found->second(x);
  return found != table.end();
}

}  // namespace faults
