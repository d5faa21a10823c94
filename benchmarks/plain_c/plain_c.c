/* The yardstick of benchmarks/eager_add.py: the least that a Paddle device written in C can be.
 *
 * Host memory, no queue, no check, one kernel (float32 add) that computes inline on the calling thread. What it costs
 * is what Paddle's own C interface costs. It is for measuring only: nothing asynchronous, no broadcasting, no errors.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/paddle_c.h"

#define DEVICE_TYPE "plain_c" /* as long as "refchip": Paddle hashes the name several times in each call */
#define FLOAT32 11            /* PD_DataType */

/* ---- the functions of Paddle that it calls ---- */

#define FUNCTIONS(X)                                                                                                   \
  X(PD_RegisterPhiKernel, void,                                                                                        \
    (const char*, const char*, PD_DataType, PD_DataLayout, size_t, PD_ArgumentType*, size_t, PD_ArgumentType*, size_t, \
     PD_ArgumentType*, void (*)(const PD_KernelKey*, PD_Kernel*), void (*)(PD_KernelContext*), void*))                 \
  X(PD_KernelContextGetDeviceContext, PD_DeviceContext*, (PD_KernelContext*))                                          \
  X(PD_KernelContextInputAt, PD_Tensor*, (PD_KernelContext*, size_t))                                                  \
  X(PD_KernelContextOutputAt, PD_Tensor*, (PD_KernelContext*, size_t))                                                 \
  X(PD_TensorGetDataPointer, void*, (const PD_Tensor*, PD_Status*))                                                    \
  X(PD_TensorGetElementCount, int64_t, (const PD_Tensor*, PD_Status*))                                                 \
  X(PD_DeviceContextAllocateTensor, void*, (const PD_DeviceContext*, PD_Tensor*, size_t, PD_DataType, PD_Status*))

#define X(name, result, parameters) static result(*name) parameters;
FUNCTIONS(X)
#undef X

static int resolve(void) {
  void* library = dlopen("libphi_core.so", RTLD_LAZY | RTLD_NOLOAD);
  if (library == NULL) return 0;
#define X(name, result, parameters)       \
  *(void**)&name = dlsym(library, #name); \
  if (name == NULL) return 0;
  FUNCTIONS(X)
#undef X
  return 1;
}

/* ---- the kernel ---- */

static void add_float32(const PD_DeviceContext* context, const PD_Tensor* x, const PD_Tensor* y, PD_Tensor* out) {
  PD_Status status;
  const float* a = PD_TensorGetDataPointer(x, &status);
  const float* b = PD_TensorGetDataPointer(y, &status);
  const int64_t n = PD_TensorGetElementCount(x, &status);
  float* r = PD_DeviceContextAllocateTensor(context, out, 0, FLOAT32, &status);
  for (int64_t i = 0; i < n; ++i) r[i] = a[i] + b[i];
}

static void add_float32_static(PD_KernelContext* context) {
  add_float32(PD_KernelContextGetDeviceContext(context), PD_KernelContextInputAt(context, 0),
              PD_KernelContextInputAt(context, 1), PD_KernelContextOutputAt(context, 0));
}

static void no_definition(const PD_KernelKey* key, PD_Kernel* kernel) {
  (void)key;
  (void)kernel;
}

static void register_add(void) {
  PD_ArgumentType inputs[] = {PD_ARG_TENSOR, PD_ARG_TENSOR};
  PD_ArgumentType outputs[] = {PD_ARG_TENSOR};
  PD_RegisterPhiKernel("add", DEVICE_TYPE, FLOAT32, 0, 2, inputs, 0, NULL, 1, outputs, no_definition,
                       add_float32_static, (void*)add_float32);
}

/* ---- the runtime: host memory; everything is done when the call returns ---- */

static PD_Status nothing(void) { return PD_SUCCESS; }
static PD_Status device_ok(C_Device device) { return device->id == 0 ? PD_SUCCESS : PD_FAILED; }
static PD_Status get_device(C_Device device) {
  device->id = 0;
  return PD_SUCCESS;
}
static PD_Status make_handle(C_Device device, void** handle) {
  static char anything;
  (void)device;
  *handle = &anything;
  return PD_SUCCESS;
}
static PD_Status handle_ok(C_Device device, void* handle) {
  (void)device;
  (void)handle;
  return PD_SUCCESS;
}
static PD_Status handles_ok(C_Device device, void* stream, void* event) {
  (void)stream;
  return handle_ok(device, event);
}
static PD_Status add_callback(C_Device device, C_Stream stream, C_Callback callback, void* user) {
  PD_Status status = PD_SUCCESS;
  callback(device, stream, user, &status);
  return status;
}
static PD_Status allocate(C_Device device, void** address, size_t bytes) {
  (void)device;
  *address = aligned_alloc(64, (bytes + 63) / 64 * 64);
  return *address != NULL ? PD_SUCCESS : PD_FAILED;
}
static PD_Status deallocate(C_Device device, void* address, size_t bytes) {
  (void)device;
  (void)bytes;
  free(address);
  return PD_SUCCESS;
}
static PD_Status set_memory(C_Device device, void* address, unsigned char value, size_t bytes) {
  (void)device;
  memset(address, value, bytes);
  return PD_SUCCESS;
}
static PD_Status copy(C_Device device, void* to, const void* from, size_t bytes) {
  (void)device;
  memcpy(to, from, bytes);
  return PD_SUCCESS;
}
static PD_Status copy_async(C_Device device, C_Stream stream, void* to, const void* from, size_t bytes) {
  (void)stream;
  return copy(device, to, from, bytes);
}
static PD_Status device_count(size_t* count) {
  *count = 1;
  return PD_SUCCESS;
}
static PD_Status device_list(size_t* list) {
  list[0] = 0;
  return PD_SUCCESS;
}
static PD_Status memory_stats(C_Device device, size_t* total, size_t* available) {
  (void)device;
  *total = (size_t)4 << 30;
  *available = (size_t)2 << 30;
  return PD_SUCCESS;
}
static PD_Status min_chunk(C_Device device, size_t* bytes) {
  (void)device;
  *bytes = 512;
  return PD_SUCCESS;
}

static void fill_runtime(PD_DeviceInterfacePrefix* i) {
  i->initialize = i->finalize = nothing;
  i->init_device = i->deinit_device = i->set_device = i->synchronize_device = device_ok;
  i->get_device = get_device;
  i->create_stream = i->create_event = make_handle;
  i->destroy_stream = i->query_stream = i->synchronize_stream = handle_ok;
  i->destroy_event = i->query_event = i->synchronize_event = handle_ok;
  i->record_event = i->stream_wait_event = handles_ok;
  i->stream_add_callback = add_callback;
  i->device_memory_allocate = i->host_memory_allocate = allocate;
  i->device_memory_deallocate = i->host_memory_deallocate = deallocate;
  i->device_memory_set = set_memory;
  i->memory_copy_h2d = i->memory_copy_d2h = i->memory_copy_d2d = copy;
  i->async_memory_copy_h2d = i->async_memory_copy_d2h = i->async_memory_copy_d2d = copy_async;
  i->get_device_count = device_count;
  i->get_device_list = device_list;
  i->device_memory_stats = memory_stats;
  i->device_min_chunk_size = min_chunk;
}

/* Called by `import paddle`. Only the part of the interface that is the same in every supported release is filled. */
__attribute__((visibility("default"))) void InitPlugin(PD_RuntimeParams* params) {
  if (!resolve()) {
    fprintf(stderr, DEVICE_TYPE ": this Paddle lacks a function of the C interface; the device is not offered\n");
    return;
  }
  params->version.major = 0;
  params->version.minor = 1;
  params->version.patch = 1;
  params->device_type = DEVICE_TYPE;
  params->sub_device_type = "host";
  fill_runtime(params->interface);
  register_add();
}
