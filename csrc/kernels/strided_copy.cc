// Writes a tensor through a view: the last step of an in-place operation on a non-contiguous tensor.
#include "adapter_sdk/kernel.h"
#include "copy.h"

namespace adapter::kernels {

template <typename T>
void strided_copy(Context& ctx, const Tensor& x, const std::vector<int64_t>& dims,
                  const std::vector<int64_t>& out_stride, int64_t offset, Output& out) {
  const Shape space(dims);
  // `x` may have fewer axes than the view: it is broadcast to it.
  const StridedLayout source = ctx.layout(x);
  Shape from;
  from.rank = space.rank;
  for (int i = 1; i <= space.rank; ++i) {
    const bool moves = i <= x.shape.rank && x.shape[x.shape.rank - i] != 1;
    from[space.rank - i] = moves ? source.strides[x.shape.rank - i] : 0;
  }
  const Shape to(out_stride);
  T* r = static_cast<T*>(host::alias(ctx.set_layout(out, space, {to, offset})));
  const T* a = host::in<T>(x);
  const host::Walk<2> walk(space, {to, from});
  host::launch(ctx, [=] { copy_rows(walk, r, a); });
}

ADAPTER_KERNEL("strided_copy", strided_copy, none, float, double, float16, bfloat16, int32_t, int64_t, int16_t, int8_t,
               uint8_t, bool)

}  // namespace adapter::kernels
