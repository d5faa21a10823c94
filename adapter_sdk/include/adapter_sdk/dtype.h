// Data types of tensors and their C++ storage types.
#pragma once

#include <cstddef>
#include <cstdint>

#include "adapter_sdk/plugin_table.h"

namespace adapter {

// Numbered as Paddle's PD_DataType.
enum class DType : int32_t {
  undefined = ADAPTER_UNDEFINED,
  boolean = ADAPTER_BOOL,
  uint8 = ADAPTER_UINT8,
  uint16 = ADAPTER_UINT16,
  uint32 = ADAPTER_UINT32,
  uint64 = ADAPTER_UINT64,
  int8 = ADAPTER_INT8,
  int16 = ADAPTER_INT16,
  int32 = ADAPTER_INT32,
  int64 = ADAPTER_INT64,
  float16 = ADAPTER_FLOAT16,
  float32 = ADAPTER_FLOAT32,
  float64 = ADAPTER_FLOAT64,
  bfloat16 = ADAPTER_BFLOAT16,
};

// Bytes of one element; 0 for `undefined`.
constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::boolean:
    case DType::uint8:
    case DType::int8: return 1;
    case DType::uint16:
    case DType::int16:
    case DType::float16:
    case DType::bfloat16: return 2;
    case DType::uint32:
    case DType::int32:
    case DType::float32: return 4;
    case DType::uint64:
    case DType::int64:
    case DType::float64: return 8;
    case DType::undefined: break;
  }
  return 0;
}

constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::boolean: return "bool";
    case DType::uint8: return "uint8";
    case DType::uint16: return "uint16";
    case DType::uint32: return "uint32";
    case DType::uint64: return "uint64";
    case DType::int8: return "int8";
    case DType::int16: return "int16";
    case DType::int32: return "int32";
    case DType::int64: return "int64";
    case DType::float16: return "float16";
    case DType::float32: return "float32";
    case DType::float64: return "float64";
    case DType::bfloat16: return "bfloat16";
    case DType::undefined: break;
  }
  return "undefined";
}

template <typename T>
struct DTypeOf;
#define ADAPTER_DTYPE_OF(type, value)            \
  template <>                                    \
  struct DTypeOf<type> {                         \
    static constexpr DType dtype = DType::value; \
  }
ADAPTER_DTYPE_OF(bool, boolean);
ADAPTER_DTYPE_OF(uint8_t, uint8);
ADAPTER_DTYPE_OF(int8_t, int8);
ADAPTER_DTYPE_OF(int16_t, int16);
ADAPTER_DTYPE_OF(int32_t, int32);
ADAPTER_DTYPE_OF(int64_t, int64);
ADAPTER_DTYPE_OF(float, float32);
ADAPTER_DTYPE_OF(double, float64);
#undef ADAPTER_DTYPE_OF

template <typename T>
inline constexpr DType dtype_of = DTypeOf<T>::dtype;

}  // namespace adapter
