#include <algorithm>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// The largest of the first `count` lengths, at least 0, into a one-element int32 tensor.
template <typename T>
void longest_of(Context& ctx, const Tensor& lengths, int64_t count, Output& out) {
  if (!out) return;
  ctx.resize(out, Shape{1});
  int32_t* r = host::out<int32_t>(ctx, out);
  const T* from = host::in<T>(lengths);
  const int64_t n = std::min(count, lengths.numel());
  host::launch(ctx, [=] {
    T longest = 0;
    for (int64_t i = 0; i < n; ++i) longest = std::max(longest, from[i]);
    *r = static_cast<int32_t>(longest);
  });
}

// `batch_size` says by its length, not by its values, how many sequences there are.
template <typename T>
void blha_get_max_len(Context& ctx, const Tensor& seq_lens_encoder, const Tensor& seq_lens_decoder,
                      const Tensor& batch_size, Output& max_enc_len_this_time, Output& max_dec_len_this_time) {
  const int64_t count = batch_size.shape.rank == 0 ? 1 : batch_size.shape[0];
  if (seq_lens_decoder.dtype != dtype_of<T>)
    throw InvalidArgument(std::string("seq_lens_encoder is ") + name_of(dtype_of<T>) + " but seq_lens_decoder is " +
                          name_of(seq_lens_decoder.dtype));
  longest_of<T>(ctx, seq_lens_encoder, count, max_enc_len_this_time);
  longest_of<T>(ctx, seq_lens_decoder, count, max_dec_len_this_time);
}

ADAPTER_FUSED_KERNEL("blha_get_max_len", blha_get_max_len, none, int32_t, int64_t)

}  // namespace adapter::kernels
