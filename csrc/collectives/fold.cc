#include "collectives/fold.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "adapter_sdk/error.h"
#include "adapter_sdk/half.h"

namespace adapter::collectives {
namespace {

constexpr size_t kBlock = 1024;  // elements; accumulator and two sources fit the first-level cache

// What sums are held in. Small integers wrap as they would in their own type, whichever they are held in.
template <typename T>
using Accumulator = std::conditional_t<is_half<T>, float, T>;

struct Sum {
  template <typename T>
  static T join(T a, T b) {
    if constexpr (std::is_integral_v<T>) {  // signed overflow wraps instead of being undefined
      using U = std::make_unsigned_t<T>;
      return static_cast<T>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b)));
    } else {
      return a + b;
    }
  }
};

struct Product {
  template <typename T>
  static T join(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    } else {
      return a * b;
    }
  }
};

struct Maximum {
  template <typename T>
  static T join(T a, T b) {
    return a != a || a > b ? a : b;
  }
};

struct Minimum {
  template <typename T>
  static T join(T a, T b) {
    return a != a || a < b ? a : b;
  }
};

template <typename T, typename Op>
void fold_block(const T* const* sources, size_t n_sources, T* out, size_t count, bool divide) {
  using A = Accumulator<T>;
  A held[kBlock];
  for (size_t i = 0; i < count; ++i) held[i] = static_cast<A>(sources[0][i]);
  for (size_t s = 1; s < n_sources; ++s) {
    const T* const source = sources[s];
    for (size_t i = 0; i < count; ++i) held[i] = Op::template join<A>(held[i], static_cast<A>(source[i]));
  }
  if (divide)
    for (size_t i = 0; i < count; ++i) held[i] = static_cast<A>(held[i] / static_cast<A>(n_sources));
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<T>(held[i]);
}

template <typename T, typename Op>
void fold_all(const void* const* sources, size_t n_sources, void* out, size_t count, bool divide) {
  constexpr size_t kMostOnStack = 64;
  const T* near[kMostOnStack];
  std::vector<const T*> far(n_sources > kMostOnStack ? n_sources : 0);
  const T** const at = n_sources > kMostOnStack ? far.data() : near;
  for (size_t begin = 0; begin < count; begin += kBlock) {
    for (size_t s = 0; s < n_sources; ++s) at[s] = static_cast<const T*>(sources[s]) + begin;
    fold_block<T, Op>(at, n_sources, static_cast<T*>(out) + begin, std::min(kBlock, count - begin), divide);
  }
}

[[noreturn]] void unknown(ReduceOp op) {
  throw InvalidArgument("collectives: reduction number " + std::to_string(static_cast<int32_t>(op)) + " is none");
}

template <typename T>
void fold_type(ReduceOp op, const void* const* sources, size_t n, void* out, size_t count) {
  switch (op) {
    case ReduceOp::sum: return fold_all<T, Sum>(sources, n, out, count, false);
    case ReduceOp::average: return fold_all<T, Sum>(sources, n, out, count, true);
    case ReduceOp::maximum: return fold_all<T, Maximum>(sources, n, out, count, false);
    case ReduceOp::minimum: return fold_all<T, Minimum>(sources, n, out, count, false);
    case ReduceOp::product: return fold_all<T, Product>(sources, n, out, count, false);
  }
  unknown(op);
}

// On bytes that are 0 or 1.
void fold_bool(ReduceOp op, const void* const* sources, size_t n, void* out, size_t count) {
  const bool any = op == ReduceOp::sum || op == ReduceOp::maximum;
  if (any) return fold_all<uint8_t, Maximum>(sources, n, out, count, false);
  return fold_all<uint8_t, Minimum>(sources, n, out, count, false);
}

}  // namespace

void require_reducible(DType dtype, ReduceOp op) {
  if (op < ReduceOp::sum || op > ReduceOp::product) unknown(op);
  if (dtype == DType::boolean && op == ReduceOp::average)
    throw InvalidArgument("collectives: there is no average of booleans");
  if (size_of(dtype) == 0) throw InvalidArgument(std::string("collectives: cannot reduce ") + name_of(dtype));
}

void fold(DType dtype, ReduceOp op, const void* const* sources, size_t n_sources, void* out, size_t count) {
  require_reducible(dtype, op);
  switch (dtype) {
    case DType::boolean: return fold_bool(op, sources, n_sources, out, count);
    case DType::uint8: return fold_type<uint8_t>(op, sources, n_sources, out, count);
    case DType::uint16: return fold_type<uint16_t>(op, sources, n_sources, out, count);
    case DType::uint32: return fold_type<uint32_t>(op, sources, n_sources, out, count);
    case DType::uint64: return fold_type<uint64_t>(op, sources, n_sources, out, count);
    case DType::int8: return fold_type<int8_t>(op, sources, n_sources, out, count);
    case DType::int16: return fold_type<int16_t>(op, sources, n_sources, out, count);
    case DType::int32: return fold_type<int32_t>(op, sources, n_sources, out, count);
    case DType::int64: return fold_type<int64_t>(op, sources, n_sources, out, count);
    case DType::float16: return fold_type<float16>(op, sources, n_sources, out, count);
    case DType::bfloat16: return fold_type<bfloat16>(op, sources, n_sources, out, count);
    case DType::float32: return fold_type<float>(op, sources, n_sources, out, count);
    case DType::float64: return fold_type<double>(op, sources, n_sources, out, count);
    case DType::undefined: break;
  }
}

}  // namespace adapter::collectives
