#include "bindings/host_backend.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "adapter_sdk/host/executor.h"
#include "adapter_sdk/host/strided.h"
#include "adapter_sdk/kernel.h"

namespace adapter {

std::vector<Kernel*>& kernel_table() {
  static auto& table = *new std::vector<Kernel*>;  // used during static initialisation and at exit
  return table;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int i = 0; i < shape.rank; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

namespace host {

void* alias(const void* device_address) noexcept { return const_cast<void*>(device_address); }

void submit(StreamHandle, Task task) { task(); }

void run_chunks(int64_t count, void (*chunk)(void* state, int64_t index), void* state) {
  for (int64_t i = 0; i < count; ++i) chunk(state, i);
}

}  // namespace host

namespace bindings {
namespace {

constexpr std::align_val_t kAlignment{64};
constexpr size_t kGuardBytes = 64;
constexpr unsigned char kGuard = 0x5A;
constexpr unsigned char kPoison = 0xCB;

HostTensor& record(const Tensor& tensor) { return *static_cast<HostTensor*>(tensor.handle); }

// Byte range, relative to the first element, that a layout touches: [low, high).
std::array<int64_t, 2> extent(const Shape& shape, const Shape& strides, size_t width) {
  std::array<int64_t, 2> range{0, static_cast<int64_t>(width)};
  for (int i = 0; i < shape.rank; ++i) {
    const int64_t reach = (shape[i] - 1) * strides[i] * static_cast<int64_t>(width);
    range[reach < 0 ? 0 : 1] += reach;
  }
  return range;
}

}  // namespace

void FreeBytes::operator()(void* bytes) const noexcept { ::operator delete(bytes, kAlignment); }

Bytes allocate_bytes(size_t bytes) {
  Bytes storage(::operator new(bytes, kAlignment));
  std::memset(storage.get(), kPoison, bytes);
  return storage;
}

void* HostContext::alloc(Output& out, DType dtype) {
  if (!out) throw InvalidArgument("the kernel allocates an output that the caller does not need");
  if (!out.shape.known())
    throw InvalidArgument("the kernel allocates an output of unknown shape " + to_string(out.shape) +
                          "; it has to call resize() first");
  HostTensor& host = record(out);
  out.dtype = dtype;
  out.allocated = true;
  host.layout = {host::contiguous_strides(out.shape), 0};
  const size_t bytes = out.nbytes();
  if (host.external != nullptr && bytes > host.external_bytes)
    throw InvalidArgument("an output of shape " + to_string(out.shape) + " " + name_of(dtype) + " needs " +
                          std::to_string(bytes) + " bytes, the array to write into has " +
                          std::to_string(host.external_bytes));
  if (host.external == nullptr && (host.owned == nullptr || host.owned_bytes < bytes)) {
    host.owned = allocate_bytes(bytes + kGuardBytes);
    host.owned_bytes = bytes;
    std::memset(static_cast<char*>(host.owned.get()) + bytes, kGuard, kGuardBytes);
  }
  out.data = out.numel() == 0 ? nullptr : host.external != nullptr ? host.external : host.owned.get();
  return out.data;
}

void HostContext::read(void* host, const Tensor& source) {
  if (source.numel() > 0) std::memcpy(host, source.data, source.nbytes());
}

StridedLayout HostContext::layout(const Tensor& tensor) { return record(tensor).layout; }

void* HostContext::set_layout(Output& out, const Shape& shape, const StridedLayout& layout) {
  HostTensor& host = record(out);
  if (host.external == nullptr)
    throw InvalidArgument("the output of an in-place operation on a view has no storage; pass an array to write into");
  if (layout.strides.rank != shape.rank)
    throw InvalidArgument("strides " + to_string(layout.strides) + " do not belong to shape " + to_string(shape));
  const auto [low, high] = extent(shape, layout.strides, size_of(out.dtype));
  if (shape.numel() > 0 &&
      (layout.offset + low < 0 || layout.offset + high > static_cast<int64_t>(host.external_bytes)))
    throw InvalidArgument("a view of shape " + to_string(shape) + ", strides " + to_string(layout.strides) +
                          " and byte offset " + std::to_string(layout.offset) + " leaves its storage of " +
                          std::to_string(host.external_bytes) + " bytes");
  host.layout = layout;
  out.shape = shape;
  out.allocated = true;
  out.data = shape.numel() == 0 ? nullptr : static_cast<char*>(host.external) + layout.offset;
  return out.data;
}

std::array<uint64_t, 2> HostContext::random(uint64_t increment) {
  if (increment > 0) ++drawn_;
  return {seed_, increment > 0 ? drawn_ : 0};
}

void require_guard_intact(const Output& out) {
  const HostTensor& host = record(out);
  if (host.owned == nullptr) return;
  const auto* guard = static_cast<const unsigned char*>(host.owned.get()) + host.owned_bytes;
  const auto* changed = std::find_if(guard, guard + kGuardBytes, [](unsigned char byte) { return byte != kGuard; });
  if (changed != guard + kGuardBytes)
    throw DeviceError("the kernel wrote out of bounds: byte " + std::to_string(changed - guard) +
                      " behind an output of shape " + to_string(out.shape) + " " + name_of(out.dtype) + " was changed");
}

}  // namespace bindings
}  // namespace adapter
