// What attention does with a row of float32 scores, in vector instructions.
#pragma once

#include <cstdint>

#include "adapter_sdk/half.h"

namespace adapter::kernels {

// x *= scale; returns the peak, NaN passed over.
float scale_scores(float* x, int64_t n, float scale);
float peak_of_scores(const float* x, int64_t n);

// x = e^(x - base); returns the sum. No x may lie above base.
float weights_of_scores(float* x, int64_t n, float base);

// p = e^(p - lse), dp = p * (dp - delta)
void slopes_of_scores(float* p, float* dp, int64_t n, float lse, float delta);

void round_scores(const float* x, int64_t n, bfloat16* to);
void round_scores(const float* x, int64_t n, float16* to);
inline void round_scores(const float*, int64_t, float*) {}

}  // namespace adapter::kernels
