#include "collectives/options.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "adapter_sdk/error.h"

namespace adapter::collectives {
namespace {

constexpr double kMaxSeconds = 1e7;  // about four months
constexpr size_t kMinBuffer = size_t{4} << 10, kMaxBuffer = size_t{256} << 20;

[[noreturn]] void malformed(const char* variable, const std::string& text, const std::string& wanted) {
  throw InvalidArgument(std::string(variable) + " is \"" + text + "\", but must be " + wanted +
                        "; correct it or unset it");
}

std::chrono::milliseconds parse_seconds(const char* variable, const std::string& text) {
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(seconds) || seconds < 0.001 || seconds > kMaxSeconds)
    malformed(variable, text, "a number of seconds from 0.001 to 10000000");
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

size_t parse_bytes(const char* variable, const std::string& text) {
  char* end = nullptr;
  const unsigned long long number = std::strtoull(text.c_str(), &end, 10);
  const std::string suffix = end;
  const int shift = suffix.empty() ? 0 : suffix == "K" || suffix == "k" ? 10 : suffix == "M" || suffix == "m" ? 20 : -1;
  const bool digits = !text.empty() && text[0] >= '0' && text[0] <= '9';
  if (!digits || shift < 0 || number > (kMaxBuffer >> shift) || (number << shift) < kMinBuffer)
    malformed(variable, text, "a number of bytes from 4K to 256M, such as 524288 or 512K");
  return (static_cast<size_t>(number << shift) + 63) / 64 * 64;
}

Transport parse_transport(const char* variable, const std::string& text) {
  if (text == "auto") return Transport::automatic;
  if (text == "shm") return Transport::shared_memory;
  if (text == "tcp") return Transport::tcp;
  malformed(variable, text, "auto, shm or tcp");
}

}  // namespace

std::string describe_timeout(std::chrono::milliseconds timeout) {
  char text[64];
  std::snprintf(text, sizeof text, "%g s (ADAPTER_COLLECTIVES_TIMEOUT)", static_cast<double>(timeout.count()) / 1000);
  return text;
}

Options options_from_environment() {
  Options options;
  constexpr const char *kTimeout = "ADAPTER_COLLECTIVES_TIMEOUT", *kTransport = "ADAPTER_COLLECTIVES_TRANSPORT",
                       *kBuffer = "ADAPTER_COLLECTIVES_BUFFER", *kInterface = "ADAPTER_COLLECTIVES_INTERFACE";
  if (const char* text = std::getenv(kTimeout)) options.timeout = parse_seconds(kTimeout, text);
  if (const char* text = std::getenv(kTransport)) options.transport = parse_transport(kTransport, text);
  if (const char* text = std::getenv(kBuffer)) options.buffer_bytes = parse_bytes(kBuffer, text);
  if (const char* text = std::getenv(kInterface)) options.interface = text;
  return options;
}

}  // namespace adapter::collectives
