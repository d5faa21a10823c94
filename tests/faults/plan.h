// Which fault goes into which kernel: "zero_tile:softmax/float32,throw:log/float32".
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

namespace faults {

struct Planted {
  std::string fault;
  std::string kernel;  // "softmax/float32"
};

// Throws std::invalid_argument when an entry is not "fault:operator/dtype".
inline std::vector<Planted> parse_plan(const std::string& text) {
  std::vector<Planted> plan;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string entry = text.substr(begin, end - begin);
    const size_t colon = entry.find(':');
    if (colon == std::string::npos || entry.find('/', colon) == std::string::npos)
      throw std::invalid_argument("\"" + entry + "\" is not of the form fault:operator/dtype");
    plan.push_back({entry.substr(0, colon), entry.substr(colon + 1)});
    begin = end + 1;
  }
  return plan;
}

}  // namespace faults
