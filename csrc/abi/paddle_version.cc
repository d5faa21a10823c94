#include "abi/paddle_version.h"

#include <dlfcn.h>

#include <charconv>
#include <fstream>

namespace adapter::abi {
namespace {

// Path of the loaded libphi_core.so, or empty with `why` filled.
std::string loaded_library(std::string* why) {
  void* handle = dlopen("libphi_core.so", RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) {
    *why = "Paddle is not loaded in this process (no libphi_core.so); import paddle first";
    return {};
  }
  void* symbol = dlsym(handle, "PD_RegisterPhiKernel");
  Dl_info info{};
  std::string path;
  if (symbol == nullptr) {
    *why = "the loaded libphi_core.so does not export PD_RegisterPhiKernel";
  } else if (dladdr(symbol, &info) == 0 || info.dli_fname == nullptr) {
    *why = "the dynamic loader cannot say where PD_RegisterPhiKernel lies";
  } else {
    path = info.dli_fname;
  }
  dlclose(handle);
  return path;
}

// Value of `full_version = '...'` in Paddle's version module, or empty with `why` filled.
std::string full_version(const std::string& file, std::string* why) {
  std::ifstream stream(file);
  if (!stream) {
    *why = "cannot read Paddle's version from " + file;
    return {};
  }
  for (std::string line; std::getline(stream, line);) {
    if (line.compare(0, 12, "full_version") != 0) continue;
    const size_t open = line.find_first_of("'\"");
    const size_t close = line.find_last_of("'\"");
    if (open != std::string::npos && close > open + 1) return line.substr(open + 1, close - open - 1);
  }
  *why = file + " has no line full_version = '...'";
  return {};
}

std::string running_version_text(std::string* why) {
  const std::string library = loaded_library(why);
  if (library.empty()) return {};
  const size_t slash = library.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : library.substr(0, slash);
  return full_version(folder + "/../version/__init__.py", why);
}

}  // namespace

std::string to_string(const PaddleVersion& version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor) + "." + std::to_string(version.patch);
}

std::optional<PaddleVersion> parse_version(std::string_view text) {
  int numbers[3] = {};
  const char* at = text.data();
  const char* end = at + text.size();
  for (int i = 0; i < 3; ++i) {
    if (i > 0 && (at == end || *at++ != '.')) return std::nullopt;
    const auto [next, error] = std::from_chars(at, end, numbers[i]);
    if (error != std::errc() || numbers[i] < 0) return std::nullopt;
    at = next;
  }
  if (at != end) return std::nullopt;
  return PaddleVersion{numbers[0], numbers[1], numbers[2]};
}

std::optional<PaddleVersion> running_paddle_version(std::string* detail) {
  std::string why;
  const std::string text = running_version_text(&why);
  if (detail != nullptr) *detail = text.empty() ? why : text;
  return parse_version(text);
}

}  // namespace adapter::abi
