// One token of each sequence attends to a cache of the tokens before it, after it was added to that cache.
#include <algorithm>
#include <string>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "decode_attention.h"
#include "decode_vectors.h"
#include "dispatch.h"

namespace adapter::kernels {

// Keys and values of one sequence and head in cache_kv [2, batch, heads, capacity, size]. As on Paddle's GPU the
// numbers of the keys lie in another order than the shape says: [size / pack, capacity, pack], where a pack is 16
// bytes.
template <typename T>
struct PackedCache {
  static constexpr int64_t kPack = 16 / static_cast<int64_t>(sizeof(T));

  T *keys, *values;
  int64_t capacity, size;

  T* key_pack(int64_t token, int64_t pack) const { return keys + (pack * capacity + token) * kPack; }
  void load_key(int64_t token, float* to) const {
    for (int64_t p = 0; p < size / kPack; ++p) host::widen(key_pack(token, p), 1, to + p * kPack, kPack);
  }
  void load_value(int64_t token, float* to) const { host::widen(values + token * size, 1, to, size); }
  void store(int64_t token, const float* key, const float* value) const {
    for (int64_t p = 0; p < size / kPack; ++p) host::narrow(key + p * kPack, key_pack(token, p), 1, kPack);
    host::narrow(value, values + token * size, 1, size);
  }
};

template <typename X, typename T>
struct CachedDecoding {
  FusedRows<X, T> rows;
  T* cache;
  int64_t batch, heads, kv_heads, capacity, size;
  const int32_t* past;  // tokens in the cache, of each sequence; NULL: common_past of all
  int64_t common_past;
  AddedMask<T> mask;
  const float *cosines, *sines;  // [batch, size]; NULL: no rotation
  Pairing pairing;
  int64_t sections;  // parts of a head that are rotated by themselves
  ResultStore<T> store;

  // Tokens in the cache; below zero for a sequence that has ended. Throws InvalidArgument where there is no room.
  int64_t past_of(int64_t b) const {
    const int64_t tokens = past == nullptr ? common_past : past[b];
    if (tokens >= capacity)
      throw InvalidArgument("masked_multihead_attention: sequence " + std::to_string(b) + " has " +
                            std::to_string(tokens) + " tokens in a cache with room for " + std::to_string(capacity));
    mask.require("src_mask", 1, tokens + 1);
    return tokens;
  }

  void rotate(int64_t b, float* x) const {
    if (cosines == nullptr) return;
    const int64_t part = size / sections;
    for (int64_t at = 0; at < size; at += part)
      rotate_pairs(x + at, part, pairing, cosines + b * size + at, sines + b * size + at, true);
  }

  void head(int64_t b, int64_t kv_head, int64_t tokens, RowAttention& attention, std::vector<float>& token) const {
    const int64_t group = heads / kv_heads, per_half = batch * kv_heads * capacity * size;
    T* keys = cache + (b * kv_heads + kv_head) * capacity * size;
    const PackedCache<T> own{keys, keys + per_half, capacity, size};
    float *key = token.data(), *value = key + size;
    rows.read(b, (heads + kv_head) * size, size, key);
    rows.read(b, (heads + kv_heads + kv_head) * size, size, value);
    rotate(b, key);
    own.store(tokens, key, value);
    for (int64_t i = 0; i < group; ++i) {
      rows.read(b, (kv_head * group + i) * size, size, attention.query(i));
      rotate(b, attention.query(i));
    }
    attention.run(
        group, 1.0f / std::sqrt(static_cast<float>(size)), own, [=](int64_t) { return tokens + 1; },
        [=](int64_t i, int64_t first, int64_t n, float* s) { mask.add(b, kv_head * group + i, 0, first, n, s); });
    for (int64_t i = 0; i < group; ++i) {
      const int64_t column = (kv_head * group + i) * size;
      store.write(b * heads * size + column, column, size, attention.result(i));
    }
  }

  void run() const {
    int64_t longest = 0;
    for (int64_t b = 0; b < batch; ++b) longest = std::max(longest, past_of(b) + 1);
    const int64_t group = heads / kv_heads;
    host::parallel_for(batch * kv_heads, attention_grain(group, longest, size), [&](int64_t begin, int64_t end) {
      RowAttention attention(group, size, size);
      std::vector<float> token(static_cast<size_t>(2 * size));
      for (int64_t task = begin; task < end; ++task) {
        const int64_t b = task / kv_heads, kv_head = task % kv_heads, tokens = past_of(b);
        if (tokens < 0)
          store.clear((b * heads + kv_head * group) * size, group * size);
        else
          head(b, kv_head, tokens, attention, token);
      }
    });
  }
};

struct DecodingShape {
  int64_t batch, heads, kv_heads, capacity, size;
};

inline DecodingShape decoding_shape(const Tensor& x, const Tensor& cache_kv, DType dtype) {
  const Shape &s = x.shape, &c = cache_kv.shape;
  if (c.rank != 5 || c[0] != 2 || cache_kv.dtype != dtype)
    throw InvalidArgument(std::string("cache_kv has to be ") + name_of(dtype) +
                          " of shape [2, batch, heads, tokens, size], got " + name_of(cache_kv.dtype) + " " +
                          to_string(c));
  DecodingShape d{s.rank > 0 ? s[0] : 0, 0, c[2], c[3], c[4]};
  const int64_t pack = 16 / static_cast<int64_t>(size_of(dtype));
  if (d.size == 0 || d.size % pack != 0)
    throw Unimplemented("a head size of " + std::to_string(d.size) + " " + name_of(dtype) +
                        " numbers: keys lie in the cache in packs of 16 bytes");
  const int64_t width = s.rank > 0 ? s[s.rank - 1] : 0;
  d.heads = width / d.size - 2 * d.kv_heads;
  if (c[1] != d.batch || d.batch * width != x.numel() || width % d.size != 0 || d.kv_heads == 0 || d.heads <= 0 ||
      d.heads % d.kv_heads != 0)
    throw InvalidArgument("x " + to_string(s) +
                          " is not one token [batch, (heads + 2 * kv_heads) * size] for cache_kv " + to_string(c));
  return d;
}

// `x` in X, int32 or the model's own type T, in which everything else is held.
template <typename X, typename T>
void decode_with_cache(Context& ctx, const Tensor& x, const Tensor& cache_kv, const OptionalTensor& bias,
                       const OptionalTensor& src_mask, const OptionalTensor& sequence_lengths,
                       const OptionalTensor& rotary_tensor, const OptionalTensor& qkv_out_scale,
                       const OptionalTensor& out_shift, const OptionalTensor& out_smooth, int32_t rotary_emb_dims,
                       bool use_neox_rotary_style, float out_scale, const BoundedRounding& rounding, Output& out,
                       Output& cache_kv_out) {
  const DecodingShape d = decoding_shape(x, cache_kv, dtype_of<T>);
  const int64_t width = (d.heads + 2 * d.kv_heads) * d.size, out_width = d.heads * d.size;
  CachedDecoding<X, T> call{};
  call.rows = {host::in<X>(x), width, optional_in<float>(qkv_out_scale, "qkv_out_scale", width),
               optional_in<T>(bias, "bias", width)};
  if (std::is_same_v<X, int32_t> != static_cast<bool>(qkv_out_scale))
    throw InvalidArgument(std::string("qkv_out_scale belongs to an int32 x, and only to it; x is ") + name_of(x.dtype));
  call.batch = d.batch;
  call.heads = d.heads;
  call.kv_heads = d.kv_heads;
  call.capacity = d.capacity;
  call.size = d.size;
  call.mask = AddedMask<T>(src_mask, "src_mask", d.batch, d.heads);
  call.past = optional_in<int32_t>(sequence_lengths, "sequence_lengths", d.batch);
  if (!src_mask && !sequence_lengths)
    throw InvalidArgument(
        "neither src_mask nor sequence_lengths is given: one of them has to say how many tokens the "
        "cache holds");
  call.common_past = src_mask ? src_mask.shape[3] - 1 : 0;
  if (rotary_emb_dims > 0) {
    call.cosines = optional_in<float>(rotary_tensor, "rotary_tensor", 2 * d.batch * d.size);
    if (call.cosines == nullptr || d.size % (2 * rotary_emb_dims) != 0)
      throw InvalidArgument("rotary_emb_dims " + std::to_string(rotary_emb_dims) +
                            " needs a rotary_tensor and a head size that it divides into pairs");
    call.sines = call.cosines + d.batch * d.size;
  }
  call.pairing = use_neox_rotary_style ? Pairing::halves : Pairing::neighbours;
  call.sections = use_neox_rotary_style && rotary_emb_dims > 0 ? rotary_emb_dims : 1;
  if (static_cast<bool>(out_shift) != static_cast<bool>(out_smooth))
    throw InvalidArgument("out_shift and out_smooth belong together, but one of them is absent");
  require_int8_bounds(out_scale, rounding.highest, rounding.lowest);
  ctx.resize(out, Shape{d.batch, out_width});
  call.store = {host::out(ctx, out, ResultStore<T>::dtype(out_scale)),
                optional_in<T>(out_shift, "out_shift", out_width), optional_in<T>(out_smooth, "out_smooth", out_width),
                out_scale, rounding};
  const T* given = host::in<T>(cache_kv);
  call.cache = cache_kv_out ? host::out<T>(ctx, cache_kv_out) : const_cast<T*>(given);
  host::launch(ctx, [call, given, count = cache_kv.numel()] {
    copy_all(call.cache, given, count);
    call.run();
  });
}

// seq_len is not used, on the GPU neither: src_mask or sequence_lengths say how many tokens the cache holds.
template <typename X>
void masked_multihead_attention(Context& ctx, const Tensor& x, const Tensor& cache_kv, const OptionalTensor& bias,
                                const OptionalTensor& src_mask, const OptionalTensor& cum_offsets,
                                const OptionalTensor& sequence_lengths, const OptionalTensor& rotary_tensor,
                                const OptionalTensor& beam_cache_offset, const OptionalTensor& qkv_out_scale,
                                const OptionalTensor& out_shift, const OptionalTensor& out_smooth, int32_t /*seq_len*/,
                                int32_t rotary_emb_dims, bool use_neox_rotary_style, const std::string& compute_dtype,
                                float out_scale, int32_t quant_round_type, float quant_max_bound, float quant_min_bound,
                                Output& out, Output& cache_kv_out, Output& beam_cache_offset_out) {
  if (cum_offsets) throw Unimplemented("masked_multihead_attention does not take cum_offsets; on the GPU neither");
  if (beam_cache_offset || beam_cache_offset_out)
    throw Unimplemented(
        "masked_multihead_attention does not take beam_cache_offset: pass one sequence for each beam and "
        "reorder cache_kv when beams change");
  const BoundedRounding rounding{quant_round_type, quant_max_bound, quant_min_bound};
  const auto run = [&](auto tag) {
    decode_with_cache<X, typename decltype(tag)::type>(
        ctx, x, cache_kv, bias, src_mask, sequence_lengths, rotary_tensor, qkv_out_scale, out_shift, out_smooth,
        rotary_emb_dims, use_neox_rotary_style, out_scale, rounding, out, cache_kv_out);
  };
  if constexpr (std::is_same_v<X, int32_t>)
    visit_dtype<float, float16, bfloat16>(compute_dtype_named(compute_dtype), "compute_dtype", run);
  else
    run(TypeTag<X>{});
}

ADAPTER_FUSED_KERNEL("masked_multihead_attention", masked_multihead_attention, f32, float, float16, bfloat16, int32_t)

}  // namespace adapter::kernels
