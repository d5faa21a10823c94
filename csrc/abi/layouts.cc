#include "abi/layouts.h"

#include <algorithm>
#include <iterator>

namespace adapter::abi {
namespace {

#define ADAPTER_ABI_30(slot, v30, v31, v32, v33) v30,
#define ADAPTER_ABI_31(slot, v30, v31, v32, v33) v31,
#define ADAPTER_ABI_32(slot, v30, v31, v32, v33) v32,
#define ADAPTER_ABI_33(slot, v30, v31, v32, v33) v33,

constexpr Layout kLayouts[] = {
    {920, "3.0", false, ADAPTER_ABI_SLOTS(ADAPTER_ABI_30)},
    {976, "3.1", true, ADAPTER_ABI_SLOTS(ADAPTER_ABI_31)},
    {1032, "3.2", true, ADAPTER_ABI_SLOTS(ADAPTER_ABI_32)},
    {1128, "3.3", true, ADAPTER_ABI_SLOTS(ADAPTER_ABI_33)},
};

}  // namespace

const Layout* find_layout(size_t size) {
  const Layout* found = std::find_if(std::begin(kLayouts), std::end(kLayouts),
                                     [size](const Layout& layout) { return layout.size == size; });
  return found == std::end(kLayouts) ? nullptr : found;
}

std::string known_sizes() {
  std::string text;
  for (const Layout& layout : kLayouts) {
    if (!text.empty()) text += ", ";
    text += std::to_string(layout.size) + " (" + layout.release + ")";
  }
  return text;
}

}  // namespace adapter::abi
