#include "abi/signatures.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <stdexcept>

namespace adapter::abi {
namespace {

struct Row {
  const char* op;
  uint8_t first_version;
  const char* signature;
};

#include "signatures_table.inc"

// Index into kVersions, or the number of versions.
size_t index_of(PaddleVersion version) {
  return static_cast<size_t>(std::find(std::begin(kVersions), std::end(kVersions), version) - std::begin(kVersions));
}

size_t known_index(PaddleVersion version) {
  const size_t index = index_of(version);
  if (index == std::size(kVersions)) {
    throw std::invalid_argument("Paddle " + to_string(version) +
                                " is not among the releases with known signatures: " + known_versions());
  }
  return index;
}

// What of the sorted rows [begin, end) of one kernel holds for the release, or nullptr.
const char* effective(const Row* begin, const Row* end, size_t version) {
  const char* signature = nullptr;
  for (const Row* row = begin; row != end && row->first_version <= version; ++row) signature = row->signature;
  return signature;
}

struct ByName {
  bool operator()(const Row& row, std::string_view op) const { return row.op < op; }
  bool operator()(std::string_view op, const Row& row) const { return op < row.op; }
};

const char* lookup(size_t version, std::string_view op) {
  const auto [begin, end] = std::equal_range(std::begin(kRows), std::end(kRows), op, ByName{});
  return effective(begin, end, version);
}

std::string join_versions(bool (*included)(size_t version, std::string_view op), std::string_view op) {
  std::string text;
  for (size_t i = 0; i < std::size(kVersions); ++i) {
    if (!included(i, op)) continue;
    if (!text.empty()) text += ", ";
    text += to_string(kVersions[i]);
  }
  return text;
}

// `given` with blanks removed and DType spelt DataType.
std::string normalised(std::string_view given) {
  std::string result, word;
  const auto finish_word = [&] {
    result += word == "DType" ? "DataType" : word;
    word.clear();
  };
  for (const char c : given) {
    if (c == ' ') continue;
    if (c != ',' && c != '|') {
      word += c;
      continue;
    }
    finish_word();
    result += c;
  }
  finish_word();
  return result;
}

}  // namespace

bool signatures_known(PaddleVersion version) { return index_of(version) < std::size(kVersions); }

std::string known_versions() {
  return join_versions([](size_t, std::string_view) { return true; }, {});
}

std::string versions_with(std::string_view op) {
  return join_versions([](size_t version, std::string_view name) { return lookup(version, name) != nullptr; }, op);
}

std::optional<std::string_view> find_signature(PaddleVersion version, std::string_view op) {
  const char* signature = lookup(known_index(version), op);
  if (signature == nullptr) return std::nullopt;
  return signature;
}

SignatureCheck check_signature(PaddleVersion version, std::string_view op, std::string_view given,
                               std::string* expected) {
  const auto signature = find_signature(version, op);
  if (expected != nullptr) expected->assign(signature.value_or(""));
  if (!signature) return SignatureCheck::absent;
  return normalised(given) == *signature ? SignatureCheck::fits : SignatureCheck::differs;
}

bool fits_a_release(std::string_view op, std::string_view given) {
  return std::any_of(std::begin(kVersions), std::end(kVersions), [&](const PaddleVersion& version) {
    return check_signature(version, op, given, nullptr) == SignatureCheck::fits;
  });
}

void for_each_signature(PaddleVersion version,
                        void (*visit)(std::string_view op, std::string_view signature, void* user), void* user) {
  const size_t index = known_index(version);
  const Row* end = std::end(kRows);
  for (const Row* begin = std::begin(kRows); begin != end;) {
    const std::string_view op = begin->op;
    const Row* next = std::find_if(begin, end, [op](const Row& row) { return row.op != op; });
    const char* signature = effective(begin, next, index);
    if (signature != nullptr) visit(op, signature, user);
    begin = next;
  }
}

}  // namespace adapter::abi
