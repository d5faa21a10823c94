// Paddle's profiler, served for any device whose streams take callbacks in order: one before and one after what is
// given to a stream tell when the device was at it. For plugins that announce ADAPTER_FEATURE_PROFILER.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "abi/layouts.h"
#include "abi/paddle_c.h"
#include "abi/trace_event.h"
#include "adapter_sdk/context.h"

namespace adapter::abi {

void fill_profiler(PD_DeviceInterfacePrefix* interface, const Layout& layout);

// Whether a trace is being taken.
bool profiling();

// What the device does on a stream for one call.
struct Activity {
  std::string name;
  TraceKind kind = TraceKind::kernel;
  int card = 0;
  StreamHandle stream = nullptr;
  size_t bytes = 0;  // of a copy or fill
};

// One call from the host into the runtime, while in scope; costs a load where no trace is taken.
class RuntimeSpan {
 public:
  explicit RuntimeSpan(const char* name) {
    if (profiling()) open(name);
  }
  ~RuntimeSpan() {
    if (record_ != nullptr) close();
  }
  RuntimeSpan(const RuntimeSpan&) = delete;
  RuntimeSpan& operator=(const RuntimeSpan&) = delete;

  bool active() const { return record_ != nullptr; }
  // Times what the call gives to a stream from here on to the end of the scope.
  void watch(Activity&& activity);

 private:
  struct Pending;
  struct Record {
    PaddleRuntimeEvent event;
    std::shared_ptr<Pending> pending;
  };
  struct Deleter {
    void operator()(Record* record) const;
  };

  void open(const std::string& name);
  void close();

  std::unique_ptr<Record, Deleter> record_;
};

}  // namespace adapter::abi
