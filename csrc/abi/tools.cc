#include "abi/tools.h"

#include <algorithm>
#include <vector>

namespace adapter::abi {
namespace {

std::atomic<uint32_t> checks{0};
std::atomic<AdapterInterposer> interposer_function{nullptr};
std::atomic<void*> interposer_user{nullptr};
std::atomic<bool> tracing{false};

void update() { detail::tools_active = checks != 0 || interposer_function != nullptr || tracing; }

AdapterTensorView view_of(const Tensor& tensor) {
  AdapterTensorView view{};
  view.data = tensor.data;
  view.dtype = static_cast<int32_t>(tensor.dtype);
  view.rank = tensor.shape.rank;
  std::copy(tensor.shape.begin(), tensor.shape.end(), view.dims);
  return view;
}

}  // namespace

void set_checks(uint32_t mask) {
  checks = mask;
  update();
}

uint32_t active_checks() { return checks.load(std::memory_order_relaxed); }

void set_interposer(AdapterInterposer interposer, void* user) {
  interposer_user = user;
  interposer_function = interposer;
  update();
}

void set_profiling(bool on) {
  tracing = on;
  update();
}

bool interpose(int32_t phase, const detail::CallFrame& frame, Context& ctx, const detail::CallTensors& tensors) {
  const AdapterInterposer function = interposer_function;
  if (function == nullptr) return false;
  std::vector<AdapterTensorView> inputs, outputs;
  for (const Tensor* tensor : tensors.inputs) inputs.push_back(view_of(*tensor));
  for (const Output* tensor : tensors.outputs) outputs.push_back(view_of(*tensor));
  AdapterKernelCall call{};
  call.struct_size = sizeof call;
  call.phase = phase;
  call.row = &frame.kernel->row;
  call.card = ctx.card();
  call.is_static = frame.is_static;
  call.stream = ctx.stream();
  call.n_inputs = inputs.size();
  call.inputs = inputs.data();
  call.n_outputs = outputs.size();
  call.outputs = outputs.data();
  return function(interposer_user, &call) != 0;
}

}  // namespace adapter::abi
