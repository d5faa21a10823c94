#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/loops.h"
#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/kernel.h"

namespace adapter::kernels {

// Sum of tensors of one shape, in the order given.
template <typename T>
void add_n(Context& ctx, const TensorList& xs, Output& out) {
  if (xs.empty()) throw InvalidArgument("add_n of no tensors");
  ctx.resize(out, xs.front().shape);
  T* r = host::out<T>(ctx, out);
  std::vector<const T*> operands;
  for (const Tensor& x : xs) operands.push_back(host::in<T>(x));
  const int64_t n = out.numel();
  host::launch(ctx, [=] {
    host::parallel_for(n, host::kElementGrain, [&](int64_t begin, int64_t end) {
      using Sum = Accumulator<T>;
      Sum sum[host::kStage];
      for (int64_t i = begin; i < end; i += host::kStage) {
        const int64_t m = std::min(host::kStage, end - i);
        std::fill(sum, sum + m, Sum(0));
        for (const T* x : operands)
          for (int64_t j = 0; j < m; ++j) sum[j] += static_cast<Sum>(static_cast<Compute<T>>(x[i + j]));
        for (int64_t j = 0; j < m; ++j) r[i + j] = static_cast<T>(sum[j]);
      }
    });
  });
}

ADAPTER_KERNEL("add_n", add_n, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
