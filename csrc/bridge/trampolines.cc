#include "bridge/trampolines.h"

#include <array>
#include <utility>

#ifndef __x86_64__
#error "the eager trampoline reads registers as the x86-64 System V ABI lays them out"
#endif

namespace adapter::bridge {
namespace {

PythonKernel* bound[kTrampolines];
size_t used = 0;

using Eager = void (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, double, double, double, double,
                       double, double, double, double);
using Static = void (*)(void*);

// The parameters name every register that can carry an argument; whatever the operator's real argument list is, its
// values lie there, or above the return address, where the frame pointer leads.
template <size_t Slot>
void eager(uint64_t r0, uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5, double f0, double f1,
           double f2, double f3, double f4, double f5, double f6, double f7) {
  const uint64_t whole[] = {r0, r1, r2, r3, r4, r5};
  const double floating[] = {f0, f1, f2, f3, f4, f5, f6, f7};
  const auto* frame = static_cast<const uint64_t*>(__builtin_frame_address(0));
  bound[Slot]->call_eager({whole, floating, frame + 2});
}

template <size_t Slot>
void graph(void* kernel_context) {
  bound[Slot]->call_static(kernel_context);
}

template <size_t... Slot>
constexpr std::array<std::pair<Eager, Static>, sizeof...(Slot)> make_entries(std::index_sequence<Slot...>) {
  return {{{&eager<Slot>, &graph<Slot>}...}};
}

const auto entries = make_entries(std::make_index_sequence<kTrampolines>{});

}  // namespace

void bind_trampoline(PythonKernel& kernel) {
  if (used == kTrampolines)
    throw InvalidArgument("a plugin written in Python can bring " + std::to_string(kTrampolines) +
                          " kernels, not more");
  bound[used] = &kernel;
  kernel.kernel().eager_entry = reinterpret_cast<void*>(entries[used].first);
  kernel.kernel().static_entry = reinterpret_cast<void*>(entries[used].second);
  ++used;
}

}  // namespace adapter::bridge
