// Paddle's C API cannot read a Scalar or IntArray that the static executor passes as a tensor ("Attribute 0 cast
// error"). phi::Attribute is a variant whose layout has not changed in 3.0.0 - 3.3.1: 64 bytes, payload at 0, int32
// index at 48. tests/abi measures this with the headers of an installed Paddle.
#include "abi/attributes.h"

#include <cstring>

#include "abi/paddle_api.h"
#include "abi/stream_read.h"

namespace adapter::abi {
namespace {

constexpr size_t kIndexOffset = 48;
// phi::KernelContext::attrs_ is {begin, uint32 size, uint32 capacity} at this offset. AttrAt() checks no bounds.
constexpr size_t kAttributesOffset = 144;

enum Index : int32_t {
  kBool = 0,
  kInt32 = 1,
  kInt64 = 2,
  kFloat = 3,
  kDouble = 4,
  kVectorInt32 = 6,
  kVectorInt64 = 8,
  kScalar = 12,
  kIntArray = 14,
  kTensorRef = 18,
  kVectorTensorRef = 19,
};

struct View {
  const char* payload;
  int32_t index;
};

View attribute(void* kernel_context, size_t index) {
  const char* list = static_cast<const char*>(kernel_context) + kAttributesOffset;
  const void* begin = nullptr;
  uint32_t count = 0;
  std::memcpy(&begin, list, sizeof begin);
  std::memcpy(&count, list + sizeof begin, sizeof count);
  if (count > 0 && begin != paddle().attribute_at(kernel_context, 0))
    throw DeviceError("phi::KernelContext has another layout than in Paddle 3.0.0 - 3.3.1");
  if (index >= count)
    throw InvalidArgument("attribute " + std::to_string(index) + " does not exist; the kernel is called with " +
                          std::to_string(count));
  View view{static_cast<const char*>(paddle().attribute_at(kernel_context, index)), 0};
  std::memcpy(&view.index, view.payload + kIndexOffset, sizeof view.index);
  return view;
}

template <typename T>
T load(const void* address) {
  T value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

double half_to_double(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  double value;
  if (exponent == 31)
    value = mantissa ? __builtin_nan("") : __builtin_inf();
  else if (exponent == 0)
    value = __builtin_ldexp(mantissa, -24);
  else
    value = __builtin_ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -value : value;
}

Scalar from_real(double value) { return {value, static_cast<int64_t>(value)}; }
Scalar from_integer(int64_t value) { return {static_cast<double>(value), value}; }

Scalar load_element(const char* address, DType dtype) {
  switch (dtype) {
    case DType::boolean: return from_integer(load<uint8_t>(address) != 0);
    case DType::uint8: return from_integer(load<uint8_t>(address));
    case DType::int8: return from_integer(load<int8_t>(address));
    case DType::int16: return from_integer(load<int16_t>(address));
    case DType::int32: return from_integer(load<int32_t>(address));
    case DType::int64: return from_integer(load<int64_t>(address));
    case DType::float32: return from_real(load<float>(address));
    case DType::float64: return from_real(load<double>(address));
    case DType::float16: return from_real(half_to_double(load<uint16_t>(address)));
    case DType::bfloat16: {
      const uint32_t bits = static_cast<uint32_t>(load<uint16_t>(address)) << 16;
      return from_real(load<float>(&bits));
    }
    default: throw InvalidArgument(std::string("an attribute tensor has dtype ") + name_of(dtype));
  }
}

std::vector<Scalar> elements_of(void* kernel_context, const PD_Tensor* tensor) {
  const PaddleApi& pd = paddle();
  PD_Status status = PD_SUCCESS;
  const auto dtype = static_cast<DType>(pd.PD_TensorGetPDDataType(tensor, &status));
  int64_t count = 1;
  for (int64_t i = 0, rank = pd.PD_TensorGetNumDims(tensor, &status); i < rank; ++i)
    count *= pd.PD_TensorGetDim(tensor, static_cast<size_t>(i), &status);
  const size_t width = size_of(dtype);
  std::vector<char> bytes(static_cast<size_t>(count) * width);
  if (!bytes.empty()) {
    const void* source = pd.PD_TensorGetDataPointer(tensor, &status);
    if (pd.PD_PlaceIsHost(pd.tensor_place(tensor)))
      std::memcpy(bytes.data(), source, bytes.size());
    else  // e.g. a tensor list becomes a `stack` on the device
      read_after_stream(pd.PD_KernelContextGetDeviceContext(static_cast<PD_KernelContext*>(kernel_context)),
                        bytes.data(), source, bytes.size());
  }
  std::vector<Scalar> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(load_element(bytes.data() + static_cast<size_t>(i) * width, dtype));
  return values;
}

Scalar single(const std::vector<Scalar>& values) {
  if (values.size() != 1)
    throw InvalidArgument("a scalar attribute is a tensor of " + std::to_string(values.size()) + " elements");
  return values.front();
}

template <typename T>
IntArray integers_between(const char* payload) {  // payload: begin and end of a std::vector
  IntArray values;
  for (auto it = load<const T*>(payload), end = load<const T*>(payload + sizeof(void*)); it != end; ++it)
    values.push_back(*it);
  return values;
}

[[noreturn]] void unknown_kind(const View& view, size_t index, const char* wanted) {
  throw InvalidArgument("attribute " + std::to_string(index) + " is of kind " + std::to_string(view.index) +
                        " of phi::Attribute, wanted " + wanted);
}

}  // namespace

Scalar scalar_attribute(void* kernel_context, size_t index) {
  const View view = attribute(kernel_context, index);
  switch (view.index) {
    case kScalar: {
      void* scalar = const_cast<char*>(view.payload);
      return {paddle().PD_ScalarGetFloat64Data(scalar), paddle().PD_ScalarGetInt64Data(scalar)};
    }
    case kTensorRef: return single(elements_of(kernel_context, load<const PD_Tensor*>(view.payload)));
    case kBool: return from_integer(load<uint8_t>(view.payload) != 0);
    case kInt32: return from_integer(load<int32_t>(view.payload));
    case kInt64: return from_integer(load<int64_t>(view.payload));
    case kFloat: return from_real(load<float>(view.payload));
    case kDouble: return from_real(load<double>(view.payload));
    default: unknown_kind(view, index, "Scalar");
  }
}

IntArray int_array_attribute(void* kernel_context, size_t index) {
  const View view = attribute(kernel_context, index);
  IntArray values;
  switch (view.index) {
    case kIntArray: {
      const PD_List list = paddle().PD_IntArrayGetDataPointer(const_cast<char*>(view.payload));
      const auto* data = static_cast<const int64_t*>(list.data);
      return IntArray(data, data + list.size);
    }
    case kTensorRef:
      for (const Scalar& s : elements_of(kernel_context, load<const PD_Tensor*>(view.payload)))
        values.push_back(s.integer);
      return values;
    case kVectorTensorRef: {
      auto it = load<const PD_Tensor* const*>(view.payload);
      const auto end = load<const PD_Tensor* const*>(view.payload + sizeof(void*));
      for (; it != end; ++it) values.push_back(single(elements_of(kernel_context, *it)).integer);
      return values;
    }
    case kVectorInt64: return integers_between<int64_t>(view.payload);
    case kVectorInt32: return integers_between<int32_t>(view.payload);
    default: unknown_kind(view, index, "IntArray");
  }
}

}  // namespace adapter::abi
