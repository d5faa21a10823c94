#include <algorithm>
#include <string>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "decode_attention.h"
#include "dispatch.h"

namespace adapter::kernels {

// Keys and values of one sequence and head, row after row.
template <typename T>
struct DenseKeys {
  const T *keys, *values;
  int64_t size, value_size;

  void load_key(int64_t j, float* to) const { host::widen(keys + j * size, 1, to, size); }
  void load_value(int64_t j, float* to) const { host::widen(values + j * value_size, 1, to, value_size); }
};

// Padded sequences: queries [batch, heads, rows, size], keys and values [batch, kv heads, keys, ...].
template <typename T>
struct PaddedAttention {
  static constexpr int64_t kTile = 32;  // query rows of one task

  const T *query, *key, *value;
  T* out;
  int64_t batch, heads, kv_heads, rows, keys, size, value_size, pre_cache;
  float scale;
  bool causal;
  AddedMask<T> mask;

  // How many queries and keys a sequence has. A sequence without queries needs no keys. Throws InvalidArgument for more
  // than the tensors hold.
  template <typename Index>
  std::pair<int64_t, int64_t> lengths(const Index* seq_lens, const Index* kv_seq_lens, int64_t b) const {
    const auto m = static_cast<int64_t>(seq_lens[b]);
    const int64_t n = m == 0 ? 0 : static_cast<int64_t>(kv_seq_lens[b]) + pre_cache;
    if (m < 0 || m > rows || n < 0 || n > keys)
      throw InvalidArgument("variable_length_memory_efficient_attention: sequence " + std::to_string(b) + " has " +
                            std::to_string(m) + " queries and " + std::to_string(n) + " keys (pre_cache_length " +
                            std::to_string(pre_cache) + " included), but query has room for " + std::to_string(rows) +
                            " and key for " + std::to_string(keys));
    mask.require("mask", m, n);
    return {m, n};
  }

  // Rows [first, last) of one head; those beyond the sequence become zeros.
  void tile(int64_t b, int64_t head, int64_t first, int64_t last, int64_t queries, int64_t count) const {
    const int64_t at = b * heads + head, kv_at = b * kv_heads + head / (heads / kv_heads);
    const int64_t own = std::clamp<int64_t>(queries - first, 0, last - first);
    RowAttention attention(own, size, value_size);
    for (int64_t i = 0; i < own; ++i) host::widen(query + (at * rows + first + i) * size, 1, attention.query(i), size);
    attention.run(
        own, scale, DenseKeys<T>{key + kv_at * keys * size, value + kv_at * keys * value_size, size, value_size},
        [=](int64_t i) { return causal ? std::min(count, first + i + 1) : count; },
        [=](int64_t i, int64_t from, int64_t n, float* s) { mask.add(b, head, first + i, from, n, s); });
    T* to = out + (at * rows + first) * value_size;
    for (int64_t i = 0; i < own; ++i) host::narrow(attention.result(i), to + i * value_size, 1, value_size);
    std::fill(to + own * value_size, to + (last - first) * value_size, T(0.0f));
  }

  template <typename Index>
  void run(const Index* seq_lens, const Index* kv_seq_lens) const {
    for (int64_t b = 0; b < batch; ++b) lengths(seq_lens, kv_seq_lens, b);
    const int64_t tiles = (rows + kTile - 1) / kTile;
    const int64_t grain = attention_grain(std::min(rows, kTile), keys, size + value_size);
    host::parallel_for(batch * heads * tiles, grain, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t b = task / (heads * tiles), first = task % tiles * kTile;
        const auto [queries, count] = lengths(seq_lens, kv_seq_lens, b);
        tile(b, task / tiles % heads, first, std::min(first + kTile, rows), queries, count);
      }
    });
  }
};

// The causal limit counts from the first key, the pre-cache included: row i sees keys 0..i.
template <typename T>
void variable_length_memory_efficient_attention(Context& ctx, const Tensor& query, const Tensor& key,
                                                const Tensor& value, const Tensor& seq_lens, const Tensor& kv_seq_lens,
                                                const OptionalTensor& mask, float scale, bool causal,
                                                int32_t pre_cache_length, Output& out) {
  const Shape &q = query.shape, &k = key.shape, &v = value.shape;
  if (q.rank != 4 || k.rank != 4 || v.rank != 4 || k[0] != q[0] || v[0] != q[0] || k[1] != v[1] || k[2] != v[2] ||
      k[3] != q[3] || k[1] == 0 || q[1] % k[1] != 0)
    throw InvalidArgument(
        "query " + to_string(q) + ", key " + to_string(k) + " and value " + to_string(v) +
        " are not [batch, heads, length, size] with a number of query heads that the key heads divide");
  if (seq_lens.numel() != q[0] || kv_seq_lens.numel() != q[0] || seq_lens.dtype != kv_seq_lens.dtype)
    throw InvalidArgument("seq_lens " + to_string(seq_lens.shape) + " and kv_seq_lens " + to_string(kv_seq_lens.shape) +
                          " have to be one length each for " + std::to_string(q[0]) + " sequences, of one dtype");
  if (pre_cache_length < 0)
    throw InvalidArgument("pre_cache_length " + std::to_string(pre_cache_length) + " is negative");
  ctx.resize(out, Shape{q[0], q[1], q[2], v[3]});
  PaddedAttention<T> call{host::in<T>(query),
                          host::in<T>(key),
                          host::in<T>(value),
                          host::out<T>(ctx, out),
                          q[0],
                          q[1],
                          k[1],
                          q[2],
                          k[2],
                          q[3],
                          v[3],
                          pre_cache_length,
                          scale,
                          causal,
                          AddedMask<T>(mask, "mask", q[0], q[1])};
  visit_dtype<int32_t, int64_t>(seq_lens.dtype, "seq_lens", [&](auto tag) {
    using Index = typename decltype(tag)::type;
    host::launch(ctx, [call, m = host::in<Index>(seq_lens), n = host::in<Index>(kv_seq_lens)] { call.run(m, n); });
  });
}

ADAPTER_FUSED_KERNEL("variable_length_memory_efficient_attention", variable_length_memory_efficient_attention, same,
                     float, float16, bfloat16)

}  // namespace adapter::kernels
