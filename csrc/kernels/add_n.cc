#include <vector>

#include "accumulate.h"
#include "adapter_sdk/host/access.h"
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
    for (int64_t i = 0; i < n; ++i) {
      Accumulator<T> sum{};
      for (const T* x : operands) sum += x[i];
      r[i] = static_cast<T>(sum);
    }
  });
}

ADAPTER_KERNEL("add_n", add_n, wide, float, double, float16, bfloat16, int32_t, int64_t)

}  // namespace adapter::kernels
