// Attention of a few query rows to one sequence of keys, for the kernels that serve a model: one pass over the keys in
// blocks, with a running maximum and a running sum (M. Milakov, N. Gimelshein, "Online normalizer calculation for
// softmax", arXiv:1805.02867), so that no row of scores is kept. All arithmetic is in float, in an order that follows
// from the number of rows and keys alone.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/fold.h"
#include "fast_exp.h"
#include "gemm.h"

namespace adapter::kernels {

// A mask of [sequences or 1, heads or 1, rows or 1, keys] that is added to scores; absent when `data` is NULL.
template <typename T>
struct AddedMask {
  const T* data = nullptr;
  int64_t sequence_step = 0, head_step = 0, row_step = 0, rows = 0, keys = 0;

  AddedMask() = default;
  // Throws InvalidArgument, naming `what`, for a mask that does not broadcast to these sequences and heads.
  AddedMask(const OptionalTensor& mask, const char* what, int64_t sequences, int64_t heads) {
    if (!mask) return;
    const Shape& s = mask.shape;
    const auto fits = [&](int axis, int64_t wanted) { return s[axis] == 1 || s[axis] == wanted; };
    if (mask.dtype != dtype_of<T> || s.rank != 4 || !fits(0, sequences) || !fits(1, heads))
      throw InvalidArgument(std::string(what) + " has to be " + name_of(dtype_of<T>) + " of shape [" +
                            std::to_string(sequences) + ", 1 or " + std::to_string(heads) + ", rows, keys], got " +
                            name_of(mask.dtype) + " " + to_string(s));
    data = host::in<T>(mask);
    rows = s[2];
    keys = s[3];
    row_step = s[2] == 1 ? 0 : keys;
    head_step = s[1] == 1 ? 0 : s[2] * keys;
    sequence_step = s[0] == 1 ? 0 : s[1] * s[2] * keys;
  }

  explicit operator bool() const { return data != nullptr; }

  // Throws InvalidArgument when the mask ends before row or key.
  void require(const char* what, int64_t wanted_rows, int64_t wanted_keys) const {
    if (data == nullptr || ((row_step == 0 || rows >= wanted_rows) && keys >= wanted_keys)) return;
    throw InvalidArgument(std::string(what) + " covers " + std::to_string(rows) + " rows and " + std::to_string(keys) +
                          " keys, but a sequence has " + std::to_string(wanted_rows) + " and " +
                          std::to_string(wanted_keys));
  }

  // scores[j] += mask of key first + j
  void add(int64_t sequence, int64_t head, int64_t row, int64_t first, int64_t n, float* scores) const {
    if (data == nullptr) return;
    const T* from = data + sequence * sequence_step + head * head_step + row * row_step + first;
    ADAPTER_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) scores[j] += static_cast<float>(from[j]);
  }
};

// Some query rows and what they have gathered so far.
class RowAttention {
 public:
  static constexpr int64_t kBlock = 64;      // keys that are taken in together
  static constexpr int64_t kMatrixRows = 8;  // from here on a matrix product is faster than row by row

  // `size` numbers a query and key, `value_size` a value.
  RowAttention(int64_t rows, int64_t size, int64_t value_size)
      : rows_(rows),
        size_(size),
        value_size_(value_size),
        queries_(elements(rows, size)),
        keys_(elements(kBlock, size)),
        values_(elements(kBlock, value_size)),
        scores_(elements(rows, kBlock)),
        sums_(elements(rows, value_size)),
        peaks_(elements(rows, 1)),
        totals_(elements(rows, 1)) {}

  // Where the caller puts query `row`.
  float* query(int64_t row) { return queries_.data() + row * size_; }
  // The result of `row` after run(): zeros where every key was masked with -inf or there was none.
  const float* result(int64_t row) const { return sums_.data() + row * value_size_; }

  // Attends with the first `rows` rows. `keys` has load_key(j, to) and load_value(j, to); row i sees the first
  // visible(i) keys, which never decrease with i; mask(i, first, n, scores) adds to the scores of keys first...
  template <typename Keys, typename Visible, typename Mask>
  void run(int64_t rows, float scale, const Keys& keys, const Visible& visible, const Mask& mask) {
    std::fill_n(sums_.begin(), rows * value_size_, 0.0f);
    std::fill_n(totals_.begin(), rows, 0.0f);
    std::fill_n(peaks_.begin(), rows, -std::numeric_limits<float>::infinity());
    const int64_t count = rows > 0 ? visible(rows - 1) : 0;
    for (int64_t first = 0; first < count; first += kBlock) {
      const int64_t n = std::min(kBlock, count - first);
      for (int64_t j = 0; j < n; ++j) {
        keys.load_key(first + j, keys_.data() + j * size_);
        keys.load_value(first + j, values_.data() + j * value_size_);
      }
      score(rows, n);
      bool all_see_all = true;
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t seen = std::clamp<int64_t>(visible(i) - first, 0, n);
        all_see_all = all_see_all && seen == n;
        float* s = scores_.data() + i * kBlock;
        for (int64_t j = 0; j < seen; ++j) s[j] *= scale;
        mask(i, first, seen, s);
        weigh(i, seen, s);
      }
      // Keys that a row does not see are not even multiplied by zero: what they hold may be no number.
      if (all_see_all && rows >= kMatrixRows)
        gemm_tile<float>(false, false, rows, value_size_, n, scores_.data(), kBlock, values_.data(), value_size_, 1.0f,
                         sums_.data(), value_size_);
      else
        for (int64_t i = 0; i < rows; ++i) gather(i, std::clamp<int64_t>(visible(i) - first, 0, n));
    }
    for (int64_t i = 0; i < rows; ++i) normalise(i);
  }

 private:
  static size_t elements(int64_t rows, int64_t width) { return static_cast<size_t>(rows * width); }

  void score(int64_t rows, int64_t n) {
    if (rows >= kMatrixRows && size_ > 0)
      return gemm_tile<float>(false, true, rows, n, size_, queries_.data(), size_, keys_.data(), size_, 0.0f,
                              scores_.data(), kBlock);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const float *q = queries_.data() + i * size_, *k = keys_.data() + j * size_;
        host::Lanes<host::SumFold<float>> lanes{host::SumFold<float>{}};
        lanes.add(size_, [=](int64_t c) { return q[c] * k[c]; });
        scores_[elements(i, kBlock) + static_cast<size_t>(j)] = lanes.result();
      }
  }

  // Turns n scores of a row into weights relative to its largest score so far.
  void weigh(int64_t row, int64_t n, float* s) {
    constexpr float kNone = -std::numeric_limits<float>::infinity();
    float& peak = peaks_[static_cast<size_t>(row)];
    float& total = totals_[static_cast<size_t>(row)];
    float highest = peak;
    for (int64_t j = 0; j < n; ++j) highest = s[j] > highest ? s[j] : highest;
    if (peak != kNone && highest != peak) {
      const float factor = fast_exp(peak - highest);
      float* sum = sums_.data() + row * value_size_;
      total *= factor;
      for (int64_t c = 0; c < value_size_; ++c) sum[c] *= factor;
    }
    peak = highest;
    const float base = highest == kNone ? 0.0f : highest;  // -inf - -inf would be no number
    for (int64_t j = 0; j < n; ++j) s[j] = fast_exp(s[j] - base);
    host::Lanes<host::SumFold<float>> lanes{host::SumFold<float>{}};
    lanes.add(n, [=](int64_t j) { return s[j]; });
    total += lanes.result();
  }

  // Adds n weighted values to a row's sum, four at a time: the sum is loaded and stored less often.
  void gather(int64_t row, int64_t n) {
    const int64_t width = value_size_;
    const float* w = scores_.data() + row * kBlock;
    const float* value = values_.data();
    float* sum = sums_.data() + row * width;
    int64_t j = 0;
    for (; j + 4 <= n; j += 4, w += 4, value += 4 * width) {
      ADAPTER_INDEPENDENT
      for (int64_t c = 0; c < width; ++c)
        sum[c] +=
            (w[0] * value[c] + w[1] * value[width + c]) + (w[2] * value[2 * width + c] + w[3] * value[3 * width + c]);
    }
    for (; j < n; ++j, ++w, value += width) {
      ADAPTER_INDEPENDENT
      for (int64_t c = 0; c < width; ++c) sum[c] += w[0] * value[c];
    }
  }

  void normalise(int64_t row) {
    const float total = totals_[static_cast<size_t>(row)];
    if (total == 0.0f) return;
    float* sum = sums_.data() + row * value_size_;
    for (int64_t c = 0; c < value_size_; ++c) sum[c] /= total;
  }

  int64_t rows_, size_, value_size_;
  std::vector<float> queries_, keys_, values_, scores_, sums_, peaks_, totals_;
};

// The grain of a loop over tasks that attend to about so many keys each.
inline int64_t attention_grain(int64_t rows, int64_t keys, int64_t size) {
  return host::rows_grain(rows * keys * size * 2);
}

}  // namespace adapter::kernels
