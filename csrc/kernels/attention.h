// Attention by tiles with online softmax: memory grows with the length of the sequences, never with its square.
//
// T. Dao, "FlashAttention-2: Faster attention with better parallelism and work partitioning", 2023, algorithms 1 and 2,
// for cores instead of thread blocks: a tile of scores stays in a core's cache, its products are gemm_tile().
//
//   out = softmax(scale * q k^T + mask) v        by heads; several heads of q may share one of k and v
//
// A row that may attend to nothing gives 0, and lse = +infinity. For half types the probabilities are rounded to the
// operands' dtype before they are multiplied with v, as every flash attention does.
#pragma once

#include <cstdint>
#include <vector>

#include "adapter_sdk/half.h"
#include "adapter_sdk/tensor.h"
#include "philox.h"

namespace adapter::kernels {

// Element d of a row of a head lies at data[row * row_stride + head * head_stride + d].
template <typename T>
struct Heads {
  T* data = nullptr;
  int64_t row_stride = 0, head_stride = 0;
  T* at(int64_t row, int64_t head) const { return data + row * row_stride + head * head_stride; }
};

// Heads of a contiguous tensor [..., heads, dim].
template <typename T>
Heads<T> packed_heads(T* data, int64_t heads, int64_t dim) {
  return {data, heads * dim, dim};
}

inline constexpr int64_t kNoDiagonal = int64_t{1} << 60;

// One sequence of a batch: its rows of q and of k and v, counted over the whole tensors, and where its lse begins. Row
// i may attend to columns below i + diagonal: 1 is causal, k_length - q_length + 1 causal with the last row seeing all.
struct Sequence {
  int64_t q_begin = 0, q_length = 0, k_begin = 0, k_length = 0, lse_begin = 0, diagonal = kNoDiagonal;
};

// Numbers added to the scores; a stride of 0 repeats.
template <typename T>
struct ScoreMask {
  const T* data = nullptr;
  int64_t batch_stride = 0, head_stride = 0, row_stride = 0;
  const T* row(int64_t batch, int64_t head, int64_t i) const {
    return data + batch * batch_stride + head * head_stride + i * row_stride;
  }
};

// For each column, rows that may not attend to it: [first, end) and [second, second_end), as in Paddle's
// flashmask_attention. `width` numbers for a column: 1 (causal: from the number on), 2 (causal: [0], [1]; otherwise
// from [0] on and below [1]), 4 ([0] to [1] and [2] to [3]).
struct ColumnBounds {
  const int32_t* data = nullptr;
  int64_t batch_stride = 0, head_stride = 0, group = 1, width = 1;
  bool causal = false;
  const int32_t* column(int64_t batch, int64_t head, int64_t j) const {
    return data + batch * batch_stride + head / group * head_stride + j * width;
  }
};

// Probabilities are kept with probability 1 - p and divided by it.
struct ScoreDropout {
  double p = 0;
  uint64_t seed = 0, number = 0;  // of the draw
};

template <typename T>
struct Attention {
  std::vector<Sequence> sequences;
  int64_t heads = 0, kv_heads = 0, dim = 0, value_dim = 0;
  Heads<const T> q, k, v;
  double scale = 1;
  ScoreMask<T> mask;
  ColumnBounds bounds;
  ScoreDropout dropout;
  int64_t lse_head_stride = 0;

  int64_t group() const { return heads / kv_heads; }
  int64_t lse_at(const Sequence& s, int64_t head) const { return s.lse_begin + head * lse_head_stride; }
};

// All are called inside launch(), and use several cores with the same bits whatever their number.
// lse[lse_at(sequence, head) + i] is the logarithm of row i's sum of exponentials; null where it is not wanted.
template <typename T>
void attention_forward(const Attention<T>& attention, Heads<T> out, float* lse);

// Gradients; a Heads without data is not wanted. mask_grad, where wanted, is [sequences, heads, q_length, k_length].
template <typename T>
struct AttentionGradients {
  Heads<T> q, k, v;
  T* mask = nullptr;
};
template <typename T>
void attention_backward(const Attention<T>& attention, Heads<const T> out, const float* lse, Heads<const T> out_grad,
                        const AttentionGradients<T>& gradients);

// The probabilities themselves, [sequences, heads, rows, columns], 0 beyond the sequences' lengths and negative where
// dropped: for tests of dropout, as Paddle's return_softmax.
template <typename T>
void attention_probabilities(const Attention<T>& attention, const float* lse, int64_t rows, int64_t columns, T* result);

}  // namespace adapter::kernels
