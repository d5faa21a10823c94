#include "onednn.h"

#include <dlfcn.h>

#include <string>

#include "adapter_sdk/error.h"

namespace refchip {
namespace {

// The release that pyproject.toml pins. dnnl_gemm_bf16bf16f32 is exported, but in no header, so no other is trusted.
constexpr int kMajor = 3, kMinor = 2;
constexpr const char* kLibrary = "libdnnl.so.3.2";

struct Version {  // the head of dnnl_version_t
  int major, minor, patch;
};

[[noreturn]] void refuse(const std::string& what) {
  throw adapter::DeviceError("refchip: " + what + "; install the oneDNN that it was built for: pip install " +
                             "onednn-cpu-gomp==" REFCHIP_ONEDNN);
}

// The wheel puts its library into <prefix>/lib, three folders above this one in site-packages.
std::string library_path() {
  Dl_info own;
  if (dladdr(reinterpret_cast<const void*>(&library_path), &own) == 0 || own.dli_fname == nullptr)
    refuse("cannot find the folder of its own library");
  std::string folder = own.dli_fname;
  folder.erase(folder.find_last_of('/') == std::string::npos ? 0 : folder.find_last_of('/'));
  return folder + "/../../../" + kLibrary;
}

template <typename Function>
void look_up(void* library, const char* name, const std::string& path, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) refuse(path + " has no function " + name);
}

OneDnn open_library() {
  const std::string path = library_path();
  // Deep binding: its own symbols come before those of a oneDNN that someone may have made global.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (library == nullptr) refuse(std::string("cannot load oneDNN: ") + dlerror());
  const Version* (*version)() = nullptr;
  look_up(library, "dnnl_version", path, version);
  const Version& found = *version();
  if (found.major != kMajor || found.minor != kMinor)
    refuse("oneDNN " + std::to_string(kMajor) + "." + std::to_string(kMinor) + " is needed, but " + path + " is " +
           std::to_string(found.major) + "." + std::to_string(found.minor));
  OneDnn functions{};
  look_up(library, "dnnl_sgemm", path, functions.sgemm);
  look_up(library, "dnnl_gemm_bf16bf16f32", path, functions.gemm_bf16bf16f32);
  look_up(library, "dnnl_gemm_s8s8s32", path, functions.gemm_s8s8s32);
  look_up(library, "omp_set_num_threads", path, functions.set_threads);
  return functions;
}

}  // namespace

const OneDnn& onednn() {
  static const OneDnn functions = open_library();  // a throwing initializer is tried again at the next call
  thread_local const bool alone = (functions.set_threads(1), true);
  static_cast<void>(alone);
  return functions;
}

}  // namespace refchip
