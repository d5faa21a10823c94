// Floating numbers of a dtype that is known at run time only, such as scales, which need not have a kernel's own dtype.
#pragma once

#include <algorithm>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/loops.h"
#include "dispatch.h"

namespace adapter::kernels {

// An input of any floating dtype. Made in the host part of a kernel, read inside launch().
class Numbers {
 public:
  Numbers() = default;
  // Throws InvalidArgument, naming `what`, for any other dtype.
  Numbers(const Tensor& tensor, const char* what) : data_(host::alias(tensor.data)), dtype_(tensor.dtype) {
    visit_dtype<float, double, float16, bfloat16>(dtype_, what, [](auto) {});
  }

  // to[i] = number first + i
  template <typename C>
  void read(int64_t first, int64_t n, C* to) const {
    visit_dtype<float, double, float16, bfloat16>(dtype_, "a number", [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* from = static_cast<const T*>(data_) + first;
      if constexpr (std::is_same_v<Compute<T>, C>) {
        host::widen(from, 1, to, n);
      } else {
        for (int64_t i = 0; i < n; ++i) to[i] = static_cast<C>(from[i]);
      }
    });
  }
  template <typename C>
  C at(int64_t i) const {
    C value{};
    read(i, 1, &value);
    return value;
  }

 private:
  const void* data_ = nullptr;
  DType dtype_ = DType::undefined;
};

}  // namespace adapter::kernels
