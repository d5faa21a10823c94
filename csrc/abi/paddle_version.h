// Which Paddle release this process runs.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace adapter::abi {

struct PaddleVersion {
  int major, minor, patch;
};

constexpr bool operator==(const PaddleVersion& a, const PaddleVersion& b) {
  return a.major == b.major && a.minor == b.minor && a.patch == b.patch;
}
constexpr bool operator!=(const PaddleVersion& a, const PaddleVersion& b) { return !(a == b); }
constexpr bool operator<(const PaddleVersion& a, const PaddleVersion& b) {
  if (a.major != b.major) return a.major < b.major;
  return a.minor != b.minor ? a.minor < b.minor : a.patch < b.patch;
}

// "3.3.1".
std::string to_string(const PaddleVersion& version);

// Only releases: "3.3.1" gives {3, 3, 1}; "3.4.0.dev2026", "3.0.0rc1" and "3.3" give nothing, since no table holds
// them.
std::optional<PaddleVersion> parse_version(std::string_view text);

// Release of the Paddle whose libphi_core.so is loaded in this process. Nothing if there is none, or if it is no
// release. `detail` (may be nullptr) receives Paddle's full version text, or a sentence that says why it is unknown.
std::optional<PaddleVersion> running_paddle_version(std::string* detail);

}  // namespace adapter::abi
