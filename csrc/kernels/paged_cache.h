// A cache of keys or values in pages: [pages, heads, tokens of a page, size], where a table of each sequence names the
// pages of its tokens in order.
#pragma once

#include <algorithm>
#include <cstdint>

#include "adapter_sdk/half.h"
#include "adapter_sdk/host/loops.h"
#include "bulk.h"
#include "decode_vectors.h"

namespace adapter::kernels {

// One head of one sequence. Numbers are held in T, or as whole numbers plus 128 in a byte each.
template <typename T>
struct PagedHead {
  T* numbers;      // NULL when they are bytes
  uint8_t* bytes;  // NULL when they are numbers
  const int32_t* table;
  int64_t heads, head, page_tokens, size;
  float quantise, dequantise;
  BoundedRounding rounding;

  int64_t place(int64_t token) const {
    const int64_t page = table[token / page_tokens];
    return ((page * heads + head) * page_tokens + token % page_tokens) * size;
  }

  void load(int64_t token, float* to) const {
    const int64_t at = place(token);
    if (bytes == nullptr) return host::widen(numbers + at, 1, to, size);
    for (int64_t i = 0; i < size; ++i) to[i] = (static_cast<float>(bytes[at + i]) - 128.0f) * dequantise;
  }

  void store(int64_t token, const float* from) const {
    const int64_t at = place(token);
    if (bytes == nullptr) return host::narrow(from, numbers + at, 1, size);
    for (int64_t i = 0; i < size; ++i)
      bytes[at + i] = static_cast<uint8_t>(std::clamp(rounding(quantise * from[i]) + 128.0f, 0.0f, 255.0f));
  }
};

// A cache and the scales of its heads, if it is quantised.
template <typename T>
struct PagedCache {
  T* numbers = nullptr;
  uint8_t* bytes = nullptr;
  const float *quantise = nullptr, *dequantise = nullptr;  // of each head
  const uint8_t* given = nullptr;                          // what the cache holds before the call; NULL: itself
  int64_t given_bytes = 0;

  // Takes over what the cache holds before the call, unless the call is in place.
  void take_over() const {
    if (given == nullptr) return;
    copy_all(bytes != nullptr ? bytes : reinterpret_cast<uint8_t*>(numbers), given, given_bytes);
  }

  PagedHead<T> of(const int32_t* table, int64_t heads, int64_t head, int64_t page_tokens, int64_t size,
                  const BoundedRounding& rounding) const {
    const bool quantised = bytes != nullptr;
    return {numbers,
            bytes,
            table,
            heads,
            head,
            page_tokens,
            size,
            quantised ? quantise[head] : 1.0f,
            quantised ? dequantise[head] : 1.0f,
            rounding};
  }
};

}  // namespace adapter::kernels
