// What a kernel author holds: tensors, outputs and attributes. Plain values; nothing of Paddle.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "adapter_sdk/dtype.h"
#include "adapter_sdk/error.h"

namespace adapter {

inline constexpr int kMaxRank = 9;  // Paddle's limit (phi::DDim::kMaxRank)

// Dimensions of a tensor. A 0-D tensor has rank 0 and one element.
struct Shape {
  int32_t rank = 0;
  std::array<int64_t, kMaxRank> dims;

  Shape() : dims{} {}
  // Leaves rank 0 and dims without a value, for code that writes them next: to clear them takes longer than to decode.
  struct Unset {};
  explicit Shape(Unset) {}
  Shape(std::initializer_list<int64_t> values) : Shape(values.begin(), values.end()) {}
  explicit Shape(const std::vector<int64_t>& values) : Shape(values.begin(), values.end()) {}
  template <typename Iterator>
  Shape(Iterator first, Iterator last) : dims{} {
    for (; first != last; ++first) push_back(*first);
  }

  void push_back(int64_t value) {
    if (rank == kMaxRank) throw InvalidArgument("a tensor has at most 9 dimensions");
    dims[static_cast<size_t>(rank++)] = value;
  }
  int64_t operator[](int axis) const { return dims[static_cast<size_t>(axis)]; }
  int64_t& operator[](int axis) { return dims[static_cast<size_t>(axis)]; }
  const int64_t* begin() const { return dims.data(); }
  const int64_t* end() const { return dims.data() + rank; }

  int64_t numel() const { return product(0, rank); }
  // Product of dims[first..last).
  int64_t product(int first, int last) const {
    int64_t n = 1;
    for (int i = first; i < last; ++i) n *= (*this)[i];
    return n;
  }
  // A dimension below zero means that the kernel has to find the shape out.
  bool known() const {
    for (int64_t d : *this)
      if (d < 0) return false;
    return true;
  }
  // Axis counted from the front. Throws InvalidArgument when it lies outside [-rank, rank); a 0-D tensor accepts 0, -1.
  int axis(int64_t value) const {
    const int64_t n = rank == 0 ? 1 : rank;
    if (value < -n || value >= n)
      throw InvalidArgument("axis " + std::to_string(value) + " is outside a tensor of rank " + std::to_string(rank));
    return static_cast<int>(value < 0 ? value + n : value);
  }
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }
  friend bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }
};

// "[2, 3]"
std::string to_string(const Shape& shape);

// An input: a dense, row-major tensor at a device address. `data` is NULL for a tensor without elements.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::undefined;
  Shape shape;
  void* handle = nullptr;  // for the SDK

  int64_t numel() const { return shape.numel(); }
  size_t nbytes() const { return static_cast<size_t>(numel()) * size_of(dtype); }
};

// An input that may be absent.
struct OptionalTensor : Tensor {
  explicit operator bool() const { return handle != nullptr; }
};

// A list of inputs (phi: std::vector<const DenseTensor*>).
struct TensorList : std::vector<Tensor> {
  using std::vector<Tensor>::vector;
};

// A list of inputs that may be absent; then it is empty.
struct OptionalTensorList : TensorList {
  using TensorList::TensorList;
};

// An output. Shape and dtype are what Paddle inferred; `Context::alloc` gives it memory. An output that the caller
// does not need is false and must be skipped.
struct Output : Tensor {
  bool allocated = false;
  explicit operator bool() const { return handle != nullptr; }
};

struct OutputList : std::vector<Output> {
  using std::vector<Output>::vector;
};

// Attribute kinds that are not plain C++ values.

// phi::Scalar, held in both readings: `real` loses integers beyond 2^53, `integer` truncates fractions.
struct Scalar {
  double real = 0;
  int64_t integer = 0;
  template <typename T>
  T to() const {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(integer);
    else
      return static_cast<T>(real);
  }
};

// phi::IntArray (shapes, axes, sections), distinct from the attribute kind std::vector<int64_t>.
struct IntArray : std::vector<int64_t> {
  using std::vector<int64_t>::vector;
};

// How a tensor that is not contiguous lies in memory: strides in elements, the offset of its first element in bytes, as
// Paddle counts them.
struct StridedLayout {
  Shape strides;
  int64_t offset = 0;
};

}  // namespace adapter
