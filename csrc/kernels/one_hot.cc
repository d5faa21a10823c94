#include <algorithm>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"

namespace adapter::kernels {

// An index outside [0, classes) gives a row of zeros: tensor parallelism relies on that.
template <typename T>
void one_hot(Context& ctx, const Tensor& x, const Scalar& classes, Output& out) {
  const int64_t width = classes.integer, count = x.numel();
  if (width < 1) throw InvalidArgument("one_hot of " + std::to_string(width) + " classes");
  Shape shape = x.shape;
  shape.push_back(width);
  ctx.resize(out, shape);
  float* r = host::out<float>(ctx, out);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=] {
    fill_all(r, count * width, 0.0f);
    for (int64_t i = 0; i < count; ++i)
      if (a[i] >= 0 && static_cast<int64_t>(a[i]) < width) r[i * width + static_cast<int64_t>(a[i])] = 1.0f;
  });
}

ADAPTER_KERNEL("one_hot", one_hot, none, int32_t, int64_t)

}  // namespace adapter::kernels
