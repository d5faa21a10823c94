/* Paddle's CustomDevice C interface as we need it; valid C and C++, nothing of Paddle at compile time.
 *
 * Identical in 3.0.0 - 3.3.1: the prefix of C_DeviceInterface up to offset 480 and every PD_* prototype below. What
 * lies past offset 480 differs from release to release and is reached through layouts.h only.
 */
#ifndef ADAPTER_ABI_PADDLE_C_H
#define ADAPTER_ABI_PADDLE_C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t PD_Status;
enum { PD_SUCCESS = 0, PD_WARNING, PD_FAILED, PD_ERROR, PD_INTERNAL_ERROR };
typedef int32_t PD_DataType;   /* numbered as ADAPTER_BOOL ... in adapter_sdk/plugin_table.h */
typedef int32_t PD_DataLayout; /* 0 is "any" */
typedef int32_t PD_ArgumentType;
enum {
  PD_ARG_CONTEXT = 0,
  PD_ARG_TENSOR,
  PD_ARG_BOOL,
  PD_ARG_BFLOAT16,
  PD_ARG_FLOAT16,
  PD_ARG_FLOAT32,
  PD_ARG_FLOAT64,
  PD_ARG_INT32,
  PD_ARG_INT64,
  PD_ARG_STRING,
  PD_ARG_SCALAR,
  PD_ARG_INT_ARRAY,
  PD_ARG_DATA_TYPE,
  PD_ARG_DATA_LAYOUT,
  PD_ARG_PLACE,
  PD_ARG_LIST_BOOL,
  PD_ARG_LIST_INT32,
  PD_ARG_LIST_INT64,
  PD_ARG_LIST_BFLOAT16,
  PD_ARG_LIST_FLOAT16,
  PD_ARG_LIST_FLOAT32,
  PD_ARG_LIST_FLOAT64,
  PD_ARG_LIST_STRING,
  PD_ARG_LIST_SCALAR,
  PD_ARG_OPTIONAL_TENSOR,
  PD_ARG_LIST_TENSOR,
  PD_ARG_OPTIONAL_LIST_TENSOR
};

typedef struct {
  size_t size;
  void* data;
} PD_List;

typedef struct PD_KernelContext PD_KernelContext;
typedef struct PD_DeviceContext PD_DeviceContext;
typedef struct PD_Tensor PD_Tensor;
typedef struct PD_KernelKey PD_KernelKey;
typedef struct PD_Kernel PD_Kernel;

typedef struct C_Device_st {
  int id;
}* C_Device;
typedef void* C_Stream;
typedef void* C_Event;
typedef void* C_Profiler;
typedef void (*C_Callback)(C_Device, C_Stream, void*, PD_Status*);

/* Prefix of C_DeviceInterface. A slot that is not set stays NULL and Paddle treats it as absent. */
typedef struct {
  size_t size;
  PD_Status (*initialize)(void);
  PD_Status (*finalize)(void);
  PD_Status (*init_device)(C_Device);
  PD_Status (*set_device)(C_Device);
  PD_Status (*get_device)(C_Device);
  PD_Status (*deinit_device)(C_Device);
  PD_Status (*create_stream)(C_Device, C_Stream*);
  PD_Status (*destroy_stream)(C_Device, C_Stream);
  PD_Status (*query_stream)(C_Device, C_Stream);
  PD_Status (*stream_add_callback)(C_Device, C_Stream, C_Callback, void*);
  PD_Status (*create_event)(C_Device, C_Event*);
  PD_Status (*record_event)(C_Device, C_Stream, C_Event);
  PD_Status (*destroy_event)(C_Device, C_Event);
  PD_Status (*query_event)(C_Device, C_Event);
  PD_Status (*synchronize_device)(C_Device);
  PD_Status (*synchronize_stream)(C_Device, C_Stream);
  PD_Status (*synchronize_event)(C_Device, C_Event);
  PD_Status (*stream_wait_event)(C_Device, C_Stream, C_Event);
  void* reserved_dev_api[8];
  PD_Status (*device_memory_allocate)(C_Device, void**, size_t);
  PD_Status (*device_memory_deallocate)(C_Device, void*, size_t);
  PD_Status (*device_memory_set)(C_Device, void*, unsigned char, size_t);
  PD_Status (*host_memory_allocate)(C_Device, void**, size_t);
  PD_Status (*host_memory_deallocate)(C_Device, void*, size_t);
  PD_Status (*unified_memory_allocate)(C_Device, void**, size_t);
  PD_Status (*unified_memory_deallocate)(C_Device, void*, size_t);
  PD_Status (*memory_copy_h2d)(C_Device, void*, const void*, size_t);
  PD_Status (*memory_copy_d2h)(C_Device, void*, const void*, size_t);
  PD_Status (*memory_copy_d2d)(C_Device, void*, const void*, size_t);
  PD_Status (*memory_copy_p2p)(C_Device, C_Device, void*, const void*, size_t);
  PD_Status (*async_memory_copy_h2d)(C_Device, C_Stream, void*, const void*, size_t);
  PD_Status (*async_memory_copy_d2h)(C_Device, C_Stream, void*, const void*, size_t);
  PD_Status (*async_memory_copy_d2d)(C_Device, C_Stream, void*, const void*, size_t);
  PD_Status (*async_memory_copy_p2p)(C_Device, C_Device, C_Stream, void*, const void*, size_t);
  void* reserved_mem_api[8];
  PD_Status (*get_device_count)(size_t*);
  PD_Status (*get_device_list)(size_t*);
  PD_Status (*device_memory_stats)(C_Device, size_t*, size_t*);
  PD_Status (*device_min_chunk_size)(C_Device, size_t*);
  PD_Status (*device_max_chunk_size)(C_Device, size_t*);
  PD_Status (*device_max_alloc_size)(C_Device, size_t*);
  PD_Status (*device_extra_padding_size)(C_Device, size_t*);
  PD_Status (*device_init_alloc_size)(C_Device, size_t*);
  PD_Status (*device_realloc_size)(C_Device, size_t*);
  void* get_compute_capability; /* (size_t*) up to 3.0, (C_Device, size_t*) from 3.1 */
} PD_DeviceInterfacePrefix;

typedef struct {
  size_t size;
  PD_DeviceInterfacePrefix* interface;
  struct {
    size_t major, minor, patch;
  } version;
  const char* device_type;
  const char* sub_device_type;
  void* pir_default_passes;
  char reserved[32];
} PD_RuntimeParams;

/* Every exported function that the SDK calls: X(name, return type, parameters). They are looked up by dlsym when the
 * library is mounted, so that a plugin links and loads with no Paddle present. */
#define ADAPTER_PD_FUNCTIONS(X)                                                                                        \
  X(PD_RegisterPhiKernel, void,                                                                                        \
    (const char*, const char*, PD_DataType, PD_DataLayout, size_t, PD_ArgumentType*, size_t, PD_ArgumentType*, size_t, \
     PD_ArgumentType*, void (*)(const PD_KernelKey*, PD_Kernel*), void (*)(PD_KernelContext*), void*))                 \
  X(PD_KernelContextGetDeviceContext, PD_DeviceContext*, (PD_KernelContext*))                                          \
  X(PD_KernelContextBoolAttrAt, bool, (PD_KernelContext*, size_t))                                                     \
  X(PD_KernelContextInt32AttrAt, int32_t, (PD_KernelContext*, size_t))                                                 \
  X(PD_KernelContextInt64AttrAt, int64_t, (PD_KernelContext*, size_t))                                                 \
  X(PD_KernelContextFloatAttrAt, float, (PD_KernelContext*, size_t))                                                   \
  X(PD_KernelContextDoubleAttrAt, double, (PD_KernelContext*, size_t))                                                 \
  X(PD_KernelContextDataTypeAttrAt, PD_DataType, (PD_KernelContext*, size_t))                                          \
  X(PD_KernelContextStringAttrAt, char*, (PD_KernelContext*, size_t))                                                  \
  X(PD_KernelContextListInt32AttrAt, PD_List, (PD_KernelContext*, size_t))                                             \
  X(PD_KernelContextListInt64AttrAt, PD_List, (PD_KernelContext*, size_t))                                             \
  X(PD_KernelContextListFloatAttrAt, PD_List, (PD_KernelContext*, size_t))                                             \
  X(PD_KernelContextListDoubleAttrAt, PD_List, (PD_KernelContext*, size_t))                                            \
  X(PD_DeviceContextGetStream, void*, (const PD_DeviceContext*, PD_Status*))                                           \
  X(PD_DeviceContextAllocateTensor, void*, (const PD_DeviceContext*, PD_Tensor*, size_t, PD_DataType, PD_Status*))     \
  X(PD_DeviceContextGetSeed, uint64_t, (const PD_DeviceContext*, PD_Status*))                                          \
  X(PD_DeviceContextGetRandom, uint64_t, (const PD_DeviceContext*, PD_Status*))                                        \
  X(PD_TensorGetPDDataType, PD_DataType, (const PD_Tensor*, PD_Status*))                                               \
  X(PD_TensorGetDataPointer, void*, (const PD_Tensor*, PD_Status*))                                                    \
  X(PD_TensorGetNumDims, int64_t, (const PD_Tensor*, PD_Status*))                                                      \
  X(PD_TensorGetDim, int64_t, (const PD_Tensor*, size_t, PD_Status*))                                                  \
  X(PD_TensorSetDims, void, (PD_Tensor*, int64_t, const int64_t*, PD_Status*))                                         \
  X(PD_TensorSetStrides, void, (PD_Tensor*, int64_t, const int64_t*, PD_Status*))                                      \
  X(PD_TensorSetOffset, void, (PD_Tensor*, int64_t, PD_Status*))                                                       \
  X(PD_TensorGetStride, int64_t, (const PD_Tensor*, size_t, PD_Status*))                                               \
  X(PD_TensorGetNumStrides, int64_t, (const PD_Tensor*, PD_Status*))                                                   \
  X(PD_TensorGetOffset, size_t, (const PD_Tensor*, PD_Status*))                                                        \
  X(PD_TensorIsInitialized, bool, (const PD_Tensor*, PD_Status*))                                                      \
  X(PD_OptionalTensorGetPointer, PD_Tensor*, (PD_Tensor*))                                                             \
  X(PD_TensorVectorToList, PD_List, (PD_Tensor*))                                                                      \
  X(PD_PlaceIsHost, bool, (void*))                                                                                     \
  X(PD_ScalarGetFloat64Data, double, (void*))                                                                          \
  X(PD_ScalarGetInt64Data, int64_t, (void*))                                                                           \
  X(PD_IntArrayGetDataPointer, PD_List, (void*))                                                                       \
  X(PD_ListInt32Attr, PD_List, (void*))                                                                                \
  X(PD_ListInt64Attr, PD_List, (void*))                                                                                \
  X(PD_ListFloatAttr, PD_List, (void*))                                                                                \
  X(PD_ListDoubleAttr, PD_List, (void*))                                                                               \
  X(PD_StringAttr, char*, (void*))                                                                                     \
  X(PD_ListScalarAttr, PD_List, (void*))                                                                               \
  X(PD_KernelContextListScalarAttrAt, PD_List, (PD_KernelContext*, size_t))                                            \
  X(PD_DeletePointerList, void, (PD_List))

#ifdef __cplusplus
}
#endif
#endif
