// Attention over a cache in pages, for sequences of any length packed one after the other: those at their first call
// (prefill) bring all their tokens, those that go on (decoding) one each. Keys and values join the cache.
//
// Where the tokens of a sequence lie follows from cu_seqlens_q alone; padding_offsets, cum_offsets, seq_lens_this_time
// and the longest lengths say the same and are not read.
#include <algorithm>
#include <string>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "decode_attention.h"
#include "decode_vectors.h"
#include "dispatch.h"
#include "paged_cache.h"

namespace adapter::kernels {

// cos and sin of each position: [2, 1 or batch, positions, 1, width].
struct RotaryTable {
  const float *cosines, *sines;  // NULL: no rotation
  int64_t sequence_step, positions, width;
  Pairing pairing;
  float theta;

  struct Angles {
    const float *cosines, *sines;  // NULL: no rotation
  };

  Angles of(int64_t sequence, int64_t position) const {
    if (cosines == nullptr) return {nullptr, nullptr};
    const int64_t at = sequence * sequence_step + position * width;
    return {cosines + at, sines + at};
  }

  // Of a token that joins a cache. Those of neighbours are computed from theta, into `room` for n numbers, as on the
  // GPU; the table may end before.
  Angles of_joining(int64_t sequence, int64_t position, int64_t n, float* room) const {
    if (cosines == nullptr || pairing == Pairing::halves) return of(sequence, position);
    const int64_t half = n / 2;
    for (int64_t i = 0; i < half; ++i) {
      const double power = std::pow(static_cast<double>(theta), static_cast<double>(2 * i) / static_cast<double>(n));
      room[i] = static_cast<float>(std::cos(static_cast<double>(position) / power));
      room[half + i] = static_cast<float>(std::sin(static_cast<double>(position) / power));
    }
    return {room, room + half};
  }

  void rotate(const Angles& angles, int64_t n, float* x) const {
    if (angles.cosines != nullptr) rotate_pairs(x, n, pairing, angles.cosines, angles.sines, false);
  }
};

// One sequence of a call.
struct PagedSequence {
  int64_t first, tokens;  // rows of qkv
  int64_t past;           // tokens in the cache, the pre-cache not counted
  bool prefill;
};

// Keys and values of a sequence that brings all its tokens: the pre-cache, then rows of qkv.
template <typename T>
struct PrefillKeys {
  const T *pre_keys, *pre_values;
  int64_t pre;
  const T *keys, *values;
  int64_t step, size;

  void load(const T* pre_rows, const T* rows, int64_t j, float* to) const {
    host::widen(j < pre ? pre_rows + j * size : rows + (j - pre) * step, 1, to, size);
  }
  void load_key(int64_t j, float* to) const { load(pre_keys, keys, j, to); }
  void load_value(int64_t j, float* to) const { load(pre_values, values, j, to); }
};

// Keys and values of a sequence that goes on: its cache, then the token that joins it, which is not quantised.
template <typename T>
struct DecodingKeys {
  PagedHead<T> keys, values;
  int64_t past;
  const float *key, *value;

  void load_key(int64_t j, float* to) const { j < past ? keys.load(j, to) : void(std::copy_n(key, keys.size, to)); }
  void load_value(int64_t j, float* to) const {
    j < past ? values.load(j, to) : void(std::copy_n(value, values.size, to));
  }
};

// `X` is the type of qkv: int32 or the model's own type T, in which everything else is held.
template <typename X, typename T>
struct PagedAttention {
  static constexpr int64_t kTile = 32;  // query rows of one prefill task

  FusedRows<X, T> given;
  T* rows;  // qkv with scale, bias and, in prefill, rotation; NULL: of no use to the caller
  int64_t row_count, batch, heads, kv_heads, size, page_tokens, pages, table_width;
  const int32_t *prefill_lengths, *past_lengths, *row_starts, *tables;
  PagedCache<T> keys, values;
  const T *pre_keys, *pre_values;  // [batch, kv heads, pre, size]
  int64_t pre;
  RotaryTable rotary;
  AddedMask<T> mask, decoding_mask;
  BoundedRounding rounding;
  ResultStore<T> store;

  [[noreturn]] void refuse(int64_t b, const std::string& reason) const {
    throw InvalidArgument("block_multihead_attention: sequence " + std::to_string(b) + " " + reason);
  }

  int64_t width() const { return (heads + 2 * kv_heads) * size; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(size)); }
  const int32_t* table(int64_t b) const { return tables + b * table_width; }
  PagedHead<T> key_head(int64_t b, int64_t h) const {
    return keys.of(table(b), kv_heads, h, page_tokens, size, rounding);
  }
  PagedHead<T> value_head(int64_t b, int64_t h) const {
    return values.of(table(b), kv_heads, h, page_tokens, size, rounding);
  }
  const T* pre_rows(const T* from, int64_t b, int64_t h) const { return from + (b * kv_heads + h) * pre * size; }

  // ---- the plan: everything is checked before anything is written ---------------------------------------------------

  PagedSequence sequence(int64_t b) const {
    const int64_t first = row_starts[b], tokens = row_starts[b + 1] - first;
    if (first < 0 || tokens < 0 || first + tokens > row_count)
      refuse(b, "has rows " + std::to_string(first) + " to " + std::to_string(first + tokens) + " of qkv, which has " +
                    std::to_string(row_count));
    const int64_t length = prefill_lengths[b], past = past_lengths[b];
    if (length < 0 || past < 0 || (length > 0 && past > 0))
      refuse(b, "has seq_lens_encoder " + std::to_string(length) + " and seq_lens_decoder " + std::to_string(past) +
                    "; one of them has to be 0 and none below");
    const int64_t wanted = length > 0 ? length : past > 0 ? 1 : tokens;
    if (tokens != wanted)
      refuse(b, "has " + std::to_string(tokens) + " rows between two of cu_seqlens_q, but " + std::to_string(wanted) +
                    " tokens");
    return {first, tokens, past, length > 0};
  }

  void check(int64_t b, const PagedSequence& s) const {
    if (!s.prefill && s.past == 0) return;
    const int64_t end = pre + s.past + s.tokens;
    if (end > table_width * page_tokens)
      refuse(b, "needs room for " + std::to_string(end) + " tokens, but block_tables has " +
                    std::to_string(table_width) + " blocks of " + std::to_string(page_tokens));
    for (int64_t page = 0; page * page_tokens < end; ++page)
      if (table(b)[page] < 0 || table(b)[page] >= pages)
        refuse(b, "is to lie in block " + std::to_string(table(b)[page]) + " of a cache of " + std::to_string(pages));
    if (rotary.cosines != nullptr && (s.prefill || rotary.pairing == Pairing::halves) &&
        s.past + s.tokens > rotary.positions)
      refuse(b, "has " + std::to_string(s.past + s.tokens) + " tokens, but rope_emb only " +
                    std::to_string(rotary.positions) + " positions");
    s.prefill ? mask.require("mask", s.tokens, end) : decoding_mask.require("tgt_mask", 1, end);
  }

  std::vector<PagedSequence> plan() const {
    std::vector<PagedSequence> sequences;
    if (row_starts[0] != 0) refuse(0, "begins at row " + std::to_string(row_starts[0]) + " of qkv");
    for (int64_t b = 0; b < batch; ++b) {
      sequences.push_back(sequence(b));
      check(b, sequences.back());
    }
    return sequences;
  }

  // ---- rows: scale, bias, rotation; the keys and values of prefill go into the cache
  // ---------------------------------

  // Row `row` of qkv, which is token `position` of sequence b.
  void prepare_row(int64_t row, int64_t b, int64_t position, bool prefill, T* to, float* x) const {
    const RotaryTable::Angles angles = prefill ? rotary.of(b, position) : RotaryTable::Angles{};
    for (int64_t h = 0; h < heads + 2 * kv_heads; ++h) {
      given.read(row, h * size, size, x);
      if (h < heads + kv_heads) rotary.rotate(angles, size, x);
      host::narrow(x, to + h * size, 1, size);
      if (!prefill || h < heads) continue;
      host::widen(to + h * size, 1, x, size);  // what the cache holds is what attention sees
      if (h < heads + kv_heads)
        key_head(b, h - heads).store(pre + position, x);
      else
        value_head(b, h - heads - kv_heads).store(pre + position, x);
    }
  }

  void prepare(const std::vector<PagedSequence>& sequences, T* all) const {
    std::vector<int64_t> owners(static_cast<size_t>(row_count), -1);
    bool any_prefill = false;
    for (int64_t b = 0; b < batch; ++b) {
      const PagedSequence& s = sequences[static_cast<size_t>(b)];
      std::fill_n(owners.begin() + s.first, s.tokens, b);
      any_prefill = any_prefill || s.prefill;
    }
    const bool in_place = static_cast<const void*>(given.data) == static_cast<const void*>(all);
    if (in_place && !any_prefill && given.bias == nullptr && given.scales == nullptr) return;  // rows stay as they are
    host::parallel_for(row_count, host::rows_grain(width()), [&](int64_t begin, int64_t end) {
      std::vector<float> room(static_cast<size_t>(size));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = owners[static_cast<size_t>(i)];
        const PagedSequence s = b < 0 ? PagedSequence{i, 1, 0, false} : sequences[static_cast<size_t>(b)];
        prepare_row(i, b, i - s.first, s.prefill, all + i * width(), room.data());
      }
    });
  }

  // The pre-cache is copied into the cache of a sequence at its first call.
  void store_pre_cache(int64_t b) const {
    host::parallel_for(pre * kv_heads, host::rows_grain(2 * size), [&](int64_t begin, int64_t end) {
      std::vector<float> room(static_cast<size_t>(size));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t h = i / pre, token = i % pre;
        host::widen(pre_rows(pre_keys, b, h) + token * size, 1, room.data(), size);
        key_head(b, h).store(token, room.data());
        host::widen(pre_rows(pre_values, b, h) + token * size, 1, room.data(), size);
        value_head(b, h).store(token, room.data());
      }
    });
  }

  // ---- attention ----------------------------------------------------------------------------------------------------

  void write(int64_t row, int64_t head, const float* result) const {
    store.write((row * heads + head) * size, head * size, size, result);
  }

  void prefill_tile(int64_t b, const PagedSequence& s, const T* all, int64_t head, int64_t from, int64_t count,
                    RowAttention& attention) const {
    const int64_t kv_head = head / (heads / kv_heads), step = width();
    const T* own = all + s.first * step;
    for (int64_t i = 0; i < count; ++i) host::widen(own + (from + i) * step + head * size, 1, attention.query(i), size);
    const bool causal = !mask;
    attention.run(
        count, scale(),
        PrefillKeys<T>{pre == 0 ? nullptr : pre_rows(pre_keys, b, kv_head),
                       pre == 0 ? nullptr : pre_rows(pre_values, b, kv_head), pre, own + (heads + kv_head) * size,
                       own + (heads + kv_heads + kv_head) * size, step, size},
        [=](int64_t i) { return causal ? from + i + 1 : pre + s.tokens; },
        [=](int64_t i, int64_t first, int64_t n, float* scores) { mask.add(b, head, from + i, first, n, scores); });
    for (int64_t i = 0; i < count; ++i) write(s.first + from + i, head, attention.result(i));
  }

  void prefill(const std::vector<PagedSequence>& sequences, const T* all) const {
    struct Tile {
      int64_t sequence, head, from;
    };
    std::vector<Tile> tiles;
    int64_t cost = 0;
    for (int64_t b = 0; b < batch; ++b) {
      const PagedSequence& s = sequences[static_cast<size_t>(b)];
      if (!s.prefill) continue;
      store_pre_cache(b);
      for (int64_t head = 0; head < heads; ++head)
        for (int64_t from = 0; from < s.tokens; from += kTile) tiles.push_back({b, head, from});
      cost += heads * s.tokens * (pre + s.tokens) * size * 2;
    }
    const auto count = static_cast<int64_t>(tiles.size());
    host::parallel_for(count, host::rows_grain(cost / std::max<int64_t>(count, 1)), [&](int64_t begin, int64_t end) {
      RowAttention attention(kTile, size, size);
      for (int64_t i = begin; i < end; ++i) {
        const Tile& t = tiles[static_cast<size_t>(i)];
        const PagedSequence& s = sequences[static_cast<size_t>(t.sequence)];
        prefill_tile(t.sequence, s, all, t.head, t.from, std::min(kTile, s.tokens - t.from), attention);
      }
    });
  }

  // The one token of a sequence joins the cache and attends to it, with all query heads that share a key head.
  void decode_head(int64_t b, const PagedSequence& s, const T* all, int64_t kv_head, RowAttention& attention,
                   std::vector<float>& room) const {
    const int64_t group = heads / kv_heads, past = pre + s.past;
    const T* own = all + s.first * width();
    float *key = room.data(), *value = key + size;
    const RotaryTable::Angles angles = rotary.of_joining(b, s.past, size, value + size);
    std::vector<T> stored(static_cast<size_t>(size));
    host::widen(own + (heads + kv_head) * size, 1, key, size);
    host::widen(own + (heads + kv_heads + kv_head) * size, 1, value, size);
    rotary.rotate(angles, size, key);
    host::narrow(key, stored.data(), 1, size);
    host::widen(stored.data(), 1, key, size);
    const DecodingKeys<T> cache{key_head(b, kv_head), value_head(b, kv_head), past, key, value};
    cache.keys.store(past, key);
    cache.values.store(past, value);
    for (int64_t i = 0; i < group; ++i) {
      host::widen(own + (kv_head * group + i) * size, 1, attention.query(i), size);
      rotary.rotate(angles, size, attention.query(i));
    }
    attention.run(
        group, scale(), cache, [=](int64_t) { return past + 1; },
        [=](int64_t i, int64_t first, int64_t n, float* scores) {
          decoding_mask.add(b, kv_head * group + i, 0, first, n, scores);
        });
    for (int64_t i = 0; i < group; ++i) write(s.first, kv_head * group + i, attention.result(i));
  }

  void decode(const std::vector<PagedSequence>& sequences, const T* all) const {
    std::vector<int64_t> going_on;
    int64_t keys_seen = 0;
    for (int64_t b = 0; b < batch; ++b) {
      const PagedSequence& s = sequences[static_cast<size_t>(b)];
      if (s.prefill || s.past == 0) continue;
      going_on.push_back(b);
      keys_seen = std::max(keys_seen, pre + s.past + 1);
    }
    const int64_t group = heads / kv_heads, tasks = static_cast<int64_t>(going_on.size()) * kv_heads;
    host::parallel_for(tasks, attention_grain(group, keys_seen, size), [&](int64_t begin, int64_t end) {
      RowAttention attention(group, size, size);
      std::vector<float> room(static_cast<size_t>(3 * size));
      for (int64_t task = begin; task < end; ++task) {
        const int64_t b = going_on[static_cast<size_t>(task / kv_heads)];
        decode_head(b, sequences[static_cast<size_t>(b)], all, task % kv_heads, attention, room);
      }
    });
  }

  void run() const {
    const std::vector<PagedSequence> sequences = plan();
    keys.take_over();
    values.take_over();
    std::vector<T> own(rows == nullptr ? static_cast<size_t>(row_count * width()) : 0);
    T* all = rows == nullptr ? own.data() : rows;
    prepare(sequences, all);
    prefill(sequences, all);
    decode(sequences, all);
    for (const PagedSequence& s : sequences)
      if (!s.prefill && s.past == 0) store.clear(s.first * heads * size, s.tokens * heads * size);
    const int64_t done = row_starts[batch];  // rows behind belong to no sequence
    store.clear(done * heads * size, (row_count - done) * heads * size);
  }
};

// ---- from tensors to a call
// -------------------------------------------------------------------------------------------

inline RotaryTable rotary_table(const OptionalTensor& rope_emb, bool neox, int64_t batch, int64_t size, float theta) {
  RotaryTable table{};
  if (!rope_emb) return table;
  const Shape& s = rope_emb.shape;
  table.pairing = neox ? Pairing::halves : Pairing::neighbours;
  table.width = neox ? size : size / 2;
  table.theta = theta;
  if (rope_emb.dtype != DType::float32 || s.rank != 5 || s[0] != 2 || (s[1] != 1 && s[1] != batch) || s[3] != 1 ||
      s[4] != table.width || size % 2 != 0)
    throw InvalidArgument("rope_emb has to be float32 of shape [2, 1 or " + std::to_string(batch) + ", positions, 1, " +
                          std::to_string(table.width) + "] for use_neox_style " + (neox ? "True" : "False") + ", got " +
                          name_of(rope_emb.dtype) + " " + to_string(s));
  table.positions = s[2];
  table.sequence_step = s[1] == 1 ? 0 : s[2] * table.width;
  table.cosines = host::in<float>(rope_emb);
  table.sines = table.cosines + s.product(1, 5);
  return table;
}

// The cache as it is to be written: in the storage of the output, which in an in-place call is that of the input.
template <typename T>
PagedCache<T> paged_cache(Context& ctx, const char* name, const Tensor& cache, const OptionalTensor& quantise,
                          const OptionalTensor& dequantise, Output& out) {
  const DType dtype = quantise ? DType::uint8 : dtype_of<T>;
  if (cache.dtype != dtype || static_cast<bool>(quantise) != static_cast<bool>(dequantise))
    throw InvalidArgument(std::string(name) + " has to be " + name_of(dtype) +
                          (quantise ? ", with scales to quantise and to dequantise" : "") + ", got " +
                          name_of(cache.dtype));
  const uint8_t* given = host::in<uint8_t>(cache);
  void* at = const_cast<uint8_t*>(given);
  if (out) {
    ctx.resize(out, cache.shape);
    at = host::out(ctx, out, dtype);
  }
  PagedCache<T> result;
  if (at != given) {
    result.given = given;
    result.given_bytes = static_cast<int64_t>(cache.nbytes());
  }
  if (quantise) {
    result.bytes = static_cast<uint8_t*>(at);
    result.quantise = optional_in<float>(quantise, "a scale of a quantised cache", cache.shape[1]);
    result.dequantise = optional_in<float>(dequantise, "a scale of a quantised cache", cache.shape[1]);
  } else {
    result.numbers = static_cast<T*>(at);
  }
  return result;
}

// The optional inputs and the attributes of a call, as Paddle names them.
struct PagedOptions {
  const OptionalTensor &pre_key_cache, &pre_value_cache, &rope_emb, &mask, &tgt_mask, &cache_k_quant_scales,
      &cache_v_quant_scales, &cache_k_dequant_scales, &cache_v_dequant_scales, &qkv_out_scale, &qkv_bias, &out_shift,
      &out_smooth;
  int32_t block_size;
  bool use_neox_style;
  BoundedRounding rounding;
  float out_scale, rope_theta;
};

template <typename X, typename T>
void set_sizes(const Tensor& qkv, const Tensor& key_cache, const Tensor& value_cache, const Tensor& block_tables,
               const PagedOptions& options, PagedAttention<X, T>& call) {
  const Shape &q = qkv.shape, &c = key_cache.shape, &t = block_tables.shape;
  if (q.rank != 2 || c.rank != 4 || value_cache.shape != c || t.rank != 2 || block_tables.dtype != DType::int32)
    throw InvalidArgument("qkv " + to_string(q) + " has to be [tokens, (heads + 2 * kv_heads) * size], key_cache " +
                          to_string(c) + " and value_cache " + to_string(value_cache.shape) +
                          " [blocks, kv_heads, block_size, size], block_tables " + to_string(t) +
                          " int32 [sequences, blocks of a sequence]");
  call.row_count = q[0];
  call.batch = t[0];
  call.table_width = t[1];
  call.pages = c[0];
  call.kv_heads = c[1];
  call.page_tokens = c[2];
  call.size = c[3];
  call.heads = call.size == 0 ? 0 : q[1] / call.size - 2 * call.kv_heads;
  if (call.kv_heads == 0 || call.heads <= 0 || call.heads % call.kv_heads != 0 || call.width() != q[1])
    throw InvalidArgument("qkv " + to_string(q) + " is not (heads + 2 * kv_heads) * size wide for key_cache " +
                          to_string(c) + ", with heads that kv_heads divide");
  if (call.page_tokens != options.block_size)
    throw InvalidArgument("block_size " + std::to_string(options.block_size) + " is not that of key_cache " +
                          to_string(c));
}

inline const int32_t* lengths_in(const Tensor& tensor, const char* what, int64_t count) {
  if (tensor.dtype != DType::int32 || tensor.numel() != count)
    throw InvalidArgument(std::string(what) + " has to be " + std::to_string(count) + " numbers of int32, got " +
                          name_of(tensor.dtype) + " " + to_string(tensor.shape));
  return host::in<int32_t>(tensor);
}

template <typename X, typename T>
void set_pre_cache(const PagedOptions& options, PagedAttention<X, T>& call) {
  if (static_cast<bool>(options.pre_key_cache) != static_cast<bool>(options.pre_value_cache))
    throw InvalidArgument("pre_key_cache and pre_value_cache belong together, but one of them is absent");
  if (!options.pre_key_cache) return;
  if (!options.mask)
    throw InvalidArgument("pre_key_cache needs a mask: without one the GPU lets every token see those after it");
  const Shape& s = options.pre_key_cache.shape;
  if (s.rank != 4)
    throw InvalidArgument("pre_key_cache " + to_string(s) + " has to be [sequences, kv_heads, length, size]");
  call.pre = s[2];
  const int64_t count = call.batch * call.kv_heads * call.pre * call.size;
  call.pre_keys = optional_in<T>(options.pre_key_cache, "pre_key_cache", count);
  call.pre_values = optional_in<T>(options.pre_value_cache, "pre_value_cache", count);
}

// Where the prepared rows go: to the output when it has their type. Otherwise qkv_out is what qkv was.
template <typename X, typename T>
T* prepared_rows(Context& ctx, const Tensor& qkv, Output& qkv_out) {
  if (!qkv_out) return nullptr;
  ctx.resize(qkv_out, qkv.shape);
  X* at = host::out<X>(ctx, qkv_out);
  if constexpr (std::is_same_v<X, T>) {
    return at;
  } else {
    host::launch(ctx, [at, from = host::in<X>(qkv), n = qkv.numel()] { copy_all(at, from, n); });
    return nullptr;
  }
}

template <typename X, typename T>
PagedAttention<X, T> paged_attention(Context& ctx, const Tensor& qkv, const Tensor& key_cache,
                                     const Tensor& value_cache, const Tensor& block_tables, const PagedOptions& options,
                                     Output& fmha_out, Output& qkv_out, Output& key_cache_out,
                                     Output& value_cache_out) {
  PagedAttention<X, T> call{};
  set_sizes(qkv, key_cache, value_cache, block_tables, options, call);
  set_pre_cache(options, call);
  if (std::is_same_v<X, int32_t> != static_cast<bool>(options.qkv_out_scale))
    throw InvalidArgument(std::string("qkv_out_scale belongs to an int32 qkv, and only to it; qkv is ") +
                          name_of(qkv.dtype));
  const int64_t out_width = call.heads * call.size;
  call.rounding = options.rounding;
  call.rotary = rotary_table(options.rope_emb, options.use_neox_style, call.batch, call.size, options.rope_theta);
  call.mask = AddedMask<T>(options.mask, "mask", call.batch, call.heads);
  call.decoding_mask = AddedMask<T>(options.tgt_mask, "tgt_mask", call.batch, call.heads);
  call.tables = host::in<int32_t>(block_tables);
  call.given = {host::in<X>(qkv), call.width(),
                optional_in<float>(options.qkv_out_scale, "qkv_out_scale", call.width()),
                optional_in<T>(options.qkv_bias, "qkv_bias", call.width())};
  require_int8_bounds(options.out_scale, options.rounding.highest, options.rounding.lowest);
  const bool smoothed = options.out_scale > 0 && options.out_shift && options.out_smooth;
  ctx.resize(fmha_out, Shape{call.row_count, out_width});
  call.store = {host::out(ctx, fmha_out, ResultStore<T>::dtype(options.out_scale)),
                smoothed ? optional_in<T>(options.out_shift, "out_shift", out_width) : nullptr,
                smoothed ? optional_in<T>(options.out_smooth, "out_smooth", out_width) : nullptr, options.out_scale,
                options.rounding};
  call.rows = prepared_rows<X, T>(ctx, qkv, qkv_out);
  call.keys = paged_cache<T>(ctx, "key_cache", key_cache, options.cache_k_quant_scales, options.cache_k_dequant_scales,
                             key_cache_out);
  call.values = paged_cache<T>(ctx, "value_cache", value_cache, options.cache_v_quant_scales,
                               options.cache_v_dequant_scales, value_cache_out);
  return call;
}

template <typename X>
void block_multihead_attention(
    Context& ctx, const Tensor& qkv, const Tensor& key_cache, const Tensor& value_cache, const Tensor& seq_lens_encoder,
    const Tensor& seq_lens_decoder, const Tensor& /*seq_lens_this_time*/, const Tensor& /*padding_offsets*/,
    const Tensor& /*cum_offsets*/, const Tensor& cu_seqlens_q, const Tensor& /*cu_seqlens_k*/,
    const Tensor& block_tables, const OptionalTensor& pre_key_cache, const OptionalTensor& pre_value_cache,
    const OptionalTensor& rope_emb, const OptionalTensor& mask, const OptionalTensor& tgt_mask,
    const OptionalTensor& cache_k_quant_scales, const OptionalTensor& cache_v_quant_scales,
    const OptionalTensor& cache_k_dequant_scales, const OptionalTensor& cache_v_dequant_scales,
    const OptionalTensor& qkv_out_scale, const OptionalTensor& qkv_bias, const OptionalTensor& out_shift,
    const OptionalTensor& out_smooth, const OptionalTensor& /*max_enc_len_this_time*/,
    const OptionalTensor& /*max_dec_len_this_time*/, int32_t /*max_seq_len*/, int32_t block_size, bool use_neox_style,
    bool dynamic_cachekv_quant, int32_t quant_round_type, float quant_max_bound, float quant_min_bound, float out_scale,
    const std::string& compute_dtype, float rope_theta, Output& fmha_out, Output& qkv_out, Output& key_cache_out,
    Output& value_cache_out) {
  if (dynamic_cachekv_quant && cache_k_quant_scales)
    throw Unimplemented(
        "block_multihead_attention: a cache quantised with scales of its own making "
        "(use_dynamic_cachekv_quant); pass fixed scales for each head instead");
  const PagedOptions options{pre_key_cache,
                             pre_value_cache,
                             rope_emb,
                             mask,
                             tgt_mask,
                             cache_k_quant_scales,
                             cache_v_quant_scales,
                             cache_k_dequant_scales,
                             cache_v_dequant_scales,
                             qkv_out_scale,
                             qkv_bias,
                             out_shift,
                             out_smooth,
                             block_size,
                             use_neox_style,
                             {quant_round_type, quant_max_bound, quant_min_bound},
                             out_scale,
                             rope_theta};
  const auto run = [&](auto tag) {
    auto call = paged_attention<X, typename decltype(tag)::type>(
        ctx, qkv, key_cache, value_cache, block_tables, options, fmha_out, qkv_out, key_cache_out, value_cache_out);
    call.prefill_lengths = lengths_in(seq_lens_encoder, "seq_lens_encoder", call.batch);
    call.past_lengths = lengths_in(seq_lens_decoder, "seq_lens_decoder", call.batch);
    call.row_starts = lengths_in(cu_seqlens_q, "cu_seqlens_q", call.batch + 1);
    host::launch(ctx, [call] { call.run(); });
  };
  if constexpr (std::is_same_v<X, int32_t>)
    visit_dtype<float, float16, bfloat16>(compute_dtype_named(compute_dtype), "compute_dtype", run);
  else
    run(TypeTag<X>{});
}

ADAPTER_FUSED_KERNEL("block_multihead_attention", block_multihead_attention, f32, float, float16, bfloat16, int32_t)

}  // namespace adapter::kernels
