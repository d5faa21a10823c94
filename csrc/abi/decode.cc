// Decodes what Paddle passes to a kernel, in eager mode (C++ argument list) and under the static executor
// (KernelContext).
#include <cstring>

#include "abi/attributes.h"
#include "abi/paddle_api.h"
#include "adapter_sdk/kernel.h"

namespace adapter::detail {
namespace {

using abi::paddle;

// Everything but the address.
Tensor describe(const PD_Tensor* handle) {
  const abi::PaddleApi& pd = paddle();
  PD_Status status = PD_SUCCESS;
  Tensor tensor{nullptr, DType::undefined, Shape(Shape::Unset{}), const_cast<PD_Tensor*>(handle)};
  tensor.dtype = static_cast<DType>(pd.PD_TensorGetPDDataType(handle, &status));
  const int64_t rank = pd.PD_TensorGetNumDims(handle, &status);
  if (rank > kMaxRank)
    throw InvalidArgument("a tensor has " + std::to_string(rank) + " dimensions, at most 9 are known");
  tensor.shape.rank = static_cast<int32_t>(rank < 0 ? 0 : rank);
  for (int i = 0; i < tensor.shape.rank; ++i)
    tensor.shape[i] = pd.PD_TensorGetDim(handle, static_cast<size_t>(i), &status);
  return tensor;
}

template <typename Kind>
Kind input_from(const void* raw) {
  if (raw == nullptr) return {};
  const auto* handle = static_cast<const PD_Tensor*>(raw);
  Kind tensor{describe(handle)};
  PD_Status status = PD_SUCCESS;
  // Asking an uninitialised tensor for its address raises inside Paddle; a tensor without elements has none.
  if (paddle().PD_TensorIsInitialized(handle, &status)) tensor.data = paddle().PD_TensorGetDataPointer(handle, &status);
  return tensor;
}

Output output_from(void* raw) {
  if (raw == nullptr) return {};
  return {describe(static_cast<const PD_Tensor*>(raw))};
}

template <typename T>
std::vector<T> list_from(PD_List list) {
  const T* data = static_cast<const T*>(list.data);
  return std::vector<T>(data, data + list.size);
}

// Paddle hands out a list of pointers that is the caller's to free.
std::vector<Scalar> scalars_from(PD_List list) {
  std::vector<Scalar> values;
  for (size_t i = 0; i < list.size; ++i) values.push_back(eager_scalar(static_cast<void**>(list.data)[i]));
  paddle().PD_DeletePointerList(list);
  return values;
}

}  // namespace

Tensor eager_tensor(const void* raw) { return input_from<Tensor>(raw); }

OptionalTensor eager_optional(const void* raw) {
  return input_from<OptionalTensor>(
      paddle().PD_OptionalTensorGetPointer(static_cast<PD_Tensor*>(const_cast<void*>(raw))));
}

TensorList eager_tensors(const void* raw) {
  const PD_List list = paddle().PD_TensorVectorToList(static_cast<PD_Tensor*>(const_cast<void*>(raw)));
  TensorList tensors;
  for (size_t i = 0; i < list.size; ++i) tensors.push_back(input_from<Tensor>(static_cast<void**>(list.data)[i]));
  return tensors;
}

// paddle::optional<std::vector<const phi::DenseTensor*>>: whether there is one, then the vector.
OptionalTensorList eager_optional_tensors(const void* raw) {
  OptionalTensorList tensors;
  if (!*static_cast<const bool*>(raw)) return tensors;
  const TensorList present = eager_tensors(static_cast<const char*>(raw) + sizeof(void*));
  tensors.assign(present.begin(), present.end());
  return tensors;
}

Output eager_output(void* raw) { return output_from(raw); }

OutputList eager_outputs(void* raw) {
  const PD_List list = paddle().PD_TensorVectorToList(static_cast<PD_Tensor*>(raw));
  OutputList outputs;
  for (size_t i = 0; i < list.size; ++i) outputs.push_back(output_from(static_cast<void**>(list.data)[i]));
  return outputs;
}

Scalar eager_scalar(const void* raw) {
  void* scalar = const_cast<void*>(raw);
  return {paddle().PD_ScalarGetFloat64Data(scalar), paddle().PD_ScalarGetInt64Data(scalar)};
}

IntArray eager_int_array(const void* raw) {
  const PD_List list = paddle().PD_IntArrayGetDataPointer(const_cast<void*>(raw));
  const auto* data = static_cast<const int64_t*>(list.data);
  return IntArray(data, data + list.size);
}

std::string eager_string(const void* raw) { return paddle().PD_StringAttr(const_cast<void*>(raw)); }
std::vector<int32_t> eager_int32s(const void* raw) {
  return list_from<int32_t>(paddle().PD_ListInt32Attr(const_cast<void*>(raw)));
}
std::vector<int64_t> eager_int64s(const void* raw) {
  return list_from<int64_t>(paddle().PD_ListInt64Attr(const_cast<void*>(raw)));
}
std::vector<float> eager_floats(const void* raw) {
  return list_from<float>(paddle().PD_ListFloatAttr(const_cast<void*>(raw)));
}

std::vector<double> eager_doubles(const void* raw) {
  return list_from<double>(paddle().PD_ListDoubleAttr(const_cast<void*>(raw)));
}

std::vector<Scalar> eager_scalars(const void* raw) {
  return scalars_from(paddle().PD_ListScalarAttr(const_cast<void*>(raw)));
}

DType eager_dtype(int32_t raw) {
  // An eager call passes phi::DataType, whose order is not PD_DataType's.
  static constexpr DType kOrder[] = {DType::undefined,
                                     DType::boolean,
                                     DType::uint8,
                                     DType::int8,
                                     DType::uint16,
                                     DType::int16,
                                     DType::uint32,
                                     DType::int32,
                                     DType::uint64,
                                     DType::int64,
                                     DType::float32,
                                     DType::float64,
                                     DType::undefined,
                                     DType::undefined /* complex */,
                                     DType::undefined /* string */,
                                     DType::float16,
                                     DType::bfloat16};
  return raw >= 0 && raw < static_cast<int32_t>(std::size(kOrder)) ? kOrder[raw] : DType::undefined;
}

Tensor static_tensor(StaticReader& r) {
  const int* range = paddle().input_range_at(r.context, r.input++);
  return input_from<Tensor>(paddle().input_at(r.context, static_cast<size_t>(range[0])));
}

OptionalTensor static_optional(StaticReader& r) {
  const int* range = paddle().input_range_at(r.context, r.input++);
  if (range[1] <= range[0]) return {};
  return input_from<OptionalTensor>(paddle().input_at(r.context, static_cast<size_t>(range[0])));
}

TensorList static_tensors(StaticReader& r) {
  const int* range = paddle().input_range_at(r.context, r.input++);
  TensorList tensors;
  for (int i = range[0]; i < range[1]; ++i)
    tensors.push_back(input_from<Tensor>(paddle().input_at(r.context, static_cast<size_t>(i))));
  return tensors;
}

OptionalTensorList static_optional_tensors(StaticReader& r) {
  const TensorList present = static_tensors(r);
  return OptionalTensorList(present.begin(), present.end());
}

Output static_output(StaticReader& r) {
  const int* range = paddle().output_range_at(r.context, r.output++);
  return output_from(paddle().output_at(r.context, static_cast<size_t>(range[0])));
}

OutputList static_outputs(StaticReader& r) {
  const int* range = paddle().output_range_at(r.context, r.output++);
  OutputList outputs;
  for (int i = range[0]; i < range[1]; ++i)
    outputs.push_back(output_from(paddle().output_at(r.context, static_cast<size_t>(i))));
  return outputs;
}

Scalar static_scalar(StaticReader& r) { return abi::scalar_attribute(r.context, r.attribute++); }
IntArray static_int_array(StaticReader& r) { return abi::int_array_attribute(r.context, r.attribute++); }

namespace {
PD_KernelContext* context_of(StaticReader& r) { return static_cast<PD_KernelContext*>(r.context); }
}  // namespace

std::string static_string(StaticReader& r) {
  return paddle().PD_KernelContextStringAttrAt(context_of(r), r.attribute++);
}
std::vector<int32_t> static_int32s(StaticReader& r) {
  return list_from<int32_t>(paddle().PD_KernelContextListInt32AttrAt(context_of(r), r.attribute++));
}
std::vector<int64_t> static_int64s(StaticReader& r) {
  return list_from<int64_t>(paddle().PD_KernelContextListInt64AttrAt(context_of(r), r.attribute++));
}
std::vector<float> static_floats(StaticReader& r) {
  return list_from<float>(paddle().PD_KernelContextListFloatAttrAt(context_of(r), r.attribute++));
}
std::vector<double> static_doubles(StaticReader& r) {
  return list_from<double>(paddle().PD_KernelContextListDoubleAttrAt(context_of(r), r.attribute++));
}
std::vector<Scalar> static_scalars(StaticReader& r) {
  return scalars_from(paddle().PD_KernelContextListScalarAttrAt(context_of(r), r.attribute++));
}
DType static_dtype(StaticReader& r) {
  return static_cast<DType>(paddle().PD_KernelContextDataTypeAttrAt(context_of(r), r.attribute++));
}
bool static_bool(StaticReader& r) { return paddle().PD_KernelContextBoolAttrAt(context_of(r), r.attribute++); }
int32_t static_int32(StaticReader& r) { return paddle().PD_KernelContextInt32AttrAt(context_of(r), r.attribute++); }
int64_t static_int64(StaticReader& r) { return paddle().PD_KernelContextInt64AttrAt(context_of(r), r.attribute++); }
float static_float(StaticReader& r) { return paddle().PD_KernelContextFloatAttrAt(context_of(r), r.attribute++); }
double static_double(StaticReader& r) { return paddle().PD_KernelContextDoubleAttrAt(context_of(r), r.attribute++); }

const void* device_context_of(void* kernel_context) {
  return paddle().PD_KernelContextGetDeviceContext(static_cast<PD_KernelContext*>(kernel_context));
}

}  // namespace adapter::detail
