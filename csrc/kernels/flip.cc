#include "adapter_sdk/kernel.h"
#include "copy.h"

namespace adapter::kernels {

// Reverses the order of the elements along each axis of `axes`: read from the last element with negated strides.
template <typename T>
void flip(Context& ctx, const Tensor& x, const std::vector<int32_t>& axes, Output& out) {
  Shape strides = host::contiguous_strides(x.shape);
  int64_t offset = 0;
  for (int32_t value : axes) {
    const int axis = x.shape.axis(value);
    offset += (x.shape[axis] - 1) * strides[axis];
    strides[axis] = -strides[axis];
  }
  gather_strided<T>(ctx, x, strides, x.numel() > 0 ? offset : 0, out);
}

ADAPTER_KERNEL("flip", flip, none, float, double, float16, bfloat16, int32_t, int64_t, bool)

}  // namespace adapter::kernels
