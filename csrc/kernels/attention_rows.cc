#include "attention_rows.h"

#include "adapter_sdk/host/loops.h"
#include "fast_exp.h"
#include "row_folds.h"

namespace adapter::kernels {

ADAPTER_WIDE_VECTORS float scale_scores(float* x, int64_t n, float scale) {
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) x[j] *= scale;
  return row_max(static_cast<const float*>(x), n);
}

ADAPTER_WIDE_VECTORS float peak_of_scores(const float* x, int64_t n) { return row_max(x, n); }

ADAPTER_WIDE_VECTORS float weights_of_scores(float* x, int64_t n, float base) {
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) x[j] = fast_exp_of_weight(x[j] - base);
  const float* weight = x;
  return row_sum<float>(n, [=](int64_t j) { return weight[j]; });
}

ADAPTER_WIDE_VECTORS void slopes_of_scores(float* p, float* dp, int64_t n, float lse, float delta) {
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) {
    p[j] = fast_exp_of_weight(p[j] - lse);
    dp[j] = p[j] * (dp[j] - delta);
  }
}

ADAPTER_WIDE_VECTORS void round_scores(const float* x, int64_t n, bfloat16* to) {
  ADAPTER_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) to[j] = static_cast<bfloat16>(x[j]);
}

void round_scores(const float* x, int64_t n, float16* to) { host::narrow(x, to, 1, n); }

}  // namespace adapter::kernels
