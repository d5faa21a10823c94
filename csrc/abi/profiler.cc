#include "abi/profiler.h"

#include <dlfcn.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <utility>
#include <vector>

#include "abi/guarded.h"
#include "abi/runtime.h"
#include "abi/tools.h"
#include "adapter_sdk/device.h"

namespace adapter::abi {
namespace {

constexpr std::chrono::seconds kPatience{60};

uint64_t now() {  // the clock of Paddle's own events
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1000000000u + static_cast<uint64_t>(time.tv_nsec);
}

struct DeviceRecord {
  Activity activity;
  uint64_t start_ns = 0;
  uint64_t end_ns = 0;
  uint32_t correlation = 0;
};

// What a trace has gathered. Callbacks of a device may come after the trace: it lives as long as the process.
class Trace {
 public:
  void clear() {
    std::lock_guard<std::mutex> lock(mutex_);
    runtime_.clear();
    device_.clear();
  }
  uint32_t next_correlation() { return ++correlation_; }
  void add(PaddleRuntimeEvent&& event) {
    std::lock_guard<std::mutex> lock(mutex_);
    runtime_.push_back(std::move(event));
  }
  void expect() {
    std::lock_guard<std::mutex> lock(mutex_);
    ++expected_;
  }
  void give_up() {
    std::lock_guard<std::mutex> lock(mutex_);
    --expected_;
    arrived_.notify_all();
  }
  void add(DeviceRecord&& record) {
    std::lock_guard<std::mutex> lock(mutex_);
    device_.push_back(std::move(record));
    --expected_;
    arrived_.notify_all();
  }
  // Waits until the device has done what it was given while the trace was taken. Consumes none of its errors.
  bool settle() {
    std::unique_lock<std::mutex> lock(mutex_);
    return arrived_.wait_for(lock, kPatience, [this] { return expected_ == 0; });
  }
  void take(std::vector<PaddleRuntimeEvent>& runtime, std::vector<DeviceRecord>& device) {
    std::lock_guard<std::mutex> lock(mutex_);
    runtime.swap(runtime_);
    device.swap(device_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  int64_t expected_ = 0;
  std::atomic<uint32_t> correlation_{0};
  std::vector<PaddleRuntimeEvent> runtime_;
  std::vector<DeviceRecord> device_;
};

Trace& trace() {
  static Trace& only = *new Trace;
  return only;
}

std::atomic<bool> active{false};

using AddEvent = void (*)(C_Profiler, void*);

// libpaddle.so is in the process, but not in the global scope.
AddEvent paddle_function(const char* symbol) {
  void* library = dlopen("libpaddle.so", RTLD_LAZY | RTLD_NOLOAD);
  void* found = library == nullptr ? nullptr : dlsym(library, symbol);
  if (found == nullptr) throw DeviceError(std::string("this Paddle does not export ") + symbol);
  return reinterpret_cast<AddEvent>(found);
}

PaddleDeviceEvent to_paddle(const DeviceRecord& record) {
  PaddleDeviceEvent event;
  event.name = record.activity.name;
  event.kind = record.activity.kind;
  event.start_ns = record.start_ns;
  event.end_ns = record.end_ns;
  event.device = static_cast<uint64_t>(record.activity.card);
  event.stream = reinterpret_cast<uint64_t>(record.activity.stream);
  event.correlation = record.correlation;
  if (event.kind == TraceKind::kernel) {
    event.kernel = PaddleKernelInfo{};
    event.kernel.completed = record.end_ns;
    return event;
  }
  event.copy.bytes = record.activity.bytes;
  std::snprintf(event.copy.kind, sizeof event.copy.kind, "%s", event.name.c_str());
  return event;
}

// Of a status Paddle says at most the number: the message is printed here.
template <typename Work>
PD_Status reported(Work&& work) {
  const PD_Status status = guarded(std::forward<Work>(work));
  if (status != PD_SUCCESS)
    std::fprintf(stderr, "adapter-sdk: plugin %s: profiler: %s\n", plugin_info().name, last_error());
  return status;
}

// ---- Paddle's callbacks
PD_Status initialize(C_Profiler, void** user) {
  *user = nullptr;
  return PD_SUCCESS;
}
PD_Status finalize(C_Profiler, void*) { return PD_SUCCESS; }
PD_Status prepare(C_Profiler, void*) {
  return reported([] {
    paddle_function("profiler_add_runtime_trace_event");
    paddle_function("profiler_add_device_trace_event");
  });
}
PD_Status start(C_Profiler, void*) {
  trace().clear();
  active = true;
  set_profiling(true);
  return PD_SUCCESS;
}
PD_Status stop(C_Profiler, void*) {
  return reported([] {
    active = false;
    set_profiling(false);
    if (!trace().settle())
      throw DeviceError("the device did not finish within 60 s what it was given during the trace; it is left out");
  });
}
PD_Status collect(C_Profiler profiler, uint64_t start_ns, void*) {
  return reported([&] {
    const AddEvent add_runtime = paddle_function("profiler_add_runtime_trace_event");
    const AddEvent add_device = paddle_function("profiler_add_device_trace_event");
    std::vector<PaddleRuntimeEvent> runtime;
    std::vector<DeviceRecord> device;
    trace().take(runtime, device);
    for (PaddleRuntimeEvent& event : runtime)
      if (event.start_ns >= start_ns) add_runtime(profiler, &event);
    for (const DeviceRecord& record : device) {
      if (record.start_ns < start_ns) continue;
      PaddleDeviceEvent event = to_paddle(record);
      add_device(profiler, &event);
    }
  });
}

}  // namespace

bool profiling() { return active.load(std::memory_order_relaxed); }

void fill_profiler(PD_DeviceInterfacePrefix* interface, const Layout& layout) {
  if ((plugin_info().features & ADAPTER_FEATURE_PROFILER) == 0) return;
  const auto set = [&](short offset, auto function) {
    if (offset >= 0)
      *reinterpret_cast<void**>(reinterpret_cast<char*>(interface) + offset) = reinterpret_cast<void*>(function);
  };
  set(layout.profiler_initialize, initialize);
  set(layout.profiler_finalize, finalize);
  set(layout.profiler_prepare_tracing, prepare);
  set(layout.profiler_start_tracing, start);
  set(layout.profiler_stop_tracing, stop);
  set(layout.profiler_collect_trace_data, collect);
}

// Shared by the two callbacks on a stream, and by the span that awaits neither.
struct RuntimeSpan::Pending {
  DeviceRecord record;
};

void RuntimeSpan::Deleter::operator()(Record* record) const { delete record; }

void RuntimeSpan::open(const std::string& name) {
  record_.reset(new Record);
  PaddleRuntimeEvent& event = record_->event;
  event.name = name;
  event.process = static_cast<uint64_t>(getpid());
  event.thread = static_cast<uint64_t>(syscall(SYS_gettid));
  event.correlation = trace().next_correlation();
  event.start_ns = now();
}

void RuntimeSpan::watch(Activity&& activity) {
  const auto pending = std::make_shared<Pending>();
  pending->record.correlation = record_->event.correlation;
  pending->record.activity = std::move(activity);
  const Activity& watched = pending->record.activity;
  plugin_device().add_callback(watched.card, watched.stream, [pending] { pending->record.start_ns = now(); });
  record_->pending = pending;
}

// Called when a kernel has thrown, too: an error of the profiler's own must not take the place of that one.
void RuntimeSpan::close() {
  if (const std::shared_ptr<Pending> pending = record_->pending) {
    trace().expect();
    try {
      plugin_device().add_callback(pending->record.activity.card, pending->record.activity.stream, [pending] {
        pending->record.end_ns = now();
        trace().add(std::move(pending->record));
      });
    } catch (const std::exception& error) {
      trace().give_up();
      std::fprintf(stderr, "adapter-sdk: plugin %s: the profiler lost %s: %s\n", plugin_info().name,
                   pending->record.activity.name.c_str(), error.what());
    }
  }
  record_->event.end_ns = now();
  trace().add(std::move(record_->event));
}

}  // namespace adapter::abi
