// Lets the tests ask csrc/abi from a command line. Prints the answer; exit code 2 and the message for an exception.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>

#include "abi/layouts.h"
#include "abi/paddle_version.h"
#include "abi/signatures.h"

namespace abi = adapter::abi;

namespace {

abi::PaddleVersion version_of(const char* text) {
  const auto version = abi::parse_version(text);
  if (!version) throw std::runtime_error(std::string("not a release number: ") + text);
  return *version;
}

void print_version(const std::optional<abi::PaddleVersion>& version, const std::string& detail) {
  std::printf("%s\t%s\n", version ? abi::to_string(*version).c_str() : "unknown", detail.c_str());
}

void check(const char* version, const char* op, const char* given) {
  static constexpr const char* kNames[] = {"fits", "absent", "differs"};
  std::string expected;
  const auto result = abi::check_signature(version_of(version), op, given, &expected);
  std::printf("%s\t%s\n", kNames[static_cast<int>(result)], expected.c_str());
}

void all(const char* version) {
  abi::for_each_signature(
      version_of(version),
      [](std::string_view op, std::string_view signature, void*) {
        std::printf("%.*s %.*s\n", static_cast<int>(op.size()), op.data(), static_cast<int>(signature.size()),
                    signature.data());
      },
      nullptr);
}

void running(const char* library) {
  if (library != nullptr && dlopen(library, RTLD_LAZY | RTLD_LOCAL) == nullptr) throw std::runtime_error(dlerror());
  std::string detail;
  const auto version = abi::running_paddle_version(&detail);
  print_version(version, detail);
}

void layout(const char* size) {
  const abi::Layout* found = abi::find_layout(std::strtoul(size, nullptr, 10));
  if (found == nullptr) throw std::runtime_error("unknown size; known are " + abi::known_sizes());
  std::printf("release %s\nhas_device %d\n", found->release, found->compute_capability_has_device);
#define PRINT(slot, v30, v31, v32, v33) std::printf(#slot " %d\n", found->slot);
  ADAPTER_ABI_SLOTS(PRINT)
#undef PRINT
}

void run(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "check" && argc == 5) return check(argv[2], argv[3], argv[4]);
  if (command == "all" && argc == 3) return all(argv[2]);
  if (command == "known") return static_cast<void>(std::puts(abi::known_versions().c_str()));
  if (command == "with" && argc == 3) return static_cast<void>(std::puts(abi::versions_with(argv[2]).c_str()));
  if (command == "anywhere" && argc == 4)
    return static_cast<void>(std::puts(abi::fits_a_release(argv[2], argv[3]) ? "yes" : "no"));
  if (command == "parse" && argc == 3) return print_version(abi::parse_version(argv[2]), argv[2]);
  if (command == "running") return running(argc > 2 ? argv[2] : nullptr);
  if (command == "layout" && argc == 3) return layout(argv[2]);
  throw std::runtime_error("unknown command");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
    return 0;
  } catch (const std::exception& error) {
    std::puts(error.what());
    return 2;
  }
}
