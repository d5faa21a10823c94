/* A device that knows nothing of adapter-sdk: the plain C device of the benchmarks, with a few more kernels.
 *
 * relu and relu_grad are right, subtract adds, multiply has a signature of no release, leaky_relu that of 3.0 to 3.2.
 */
#define InitPlugin init_plain
#include "plain_c.c"
#undef InitPlugin

static const float* data_of(const PD_Tensor* tensor) {
  PD_Status status;
  return PD_TensorGetDataPointer(tensor, &status);
}

static float* fresh(const PD_DeviceContext* context, PD_Tensor* out) {
  PD_Status status;
  return PD_DeviceContextAllocateTensor(context, out, 0, FLOAT32, &status);
}

static int64_t count_of(const PD_Tensor* tensor) {
  PD_Status status;
  return PD_TensorGetElementCount(tensor, &status);
}

static void relu(const PD_DeviceContext* context, const PD_Tensor* x, PD_Tensor* out) {
  const float* a = data_of(x);
  float* r = fresh(context, out);
  for (int64_t i = 0, n = count_of(x); i < n; ++i) r[i] = a[i] > 0 ? a[i] : 0 * a[i];
}

static void relu_grad(const PD_DeviceContext* context, const PD_Tensor* y, const PD_Tensor* dy, PD_Tensor* dx) {
  const float *a = data_of(y), *b = data_of(dy);
  float* r = fresh(context, dx);
  for (int64_t i = 0, n = count_of(y); i < n; ++i) r[i] = a[i] > 0 ? b[i] : 0;
}

static void relu_static(PD_KernelContext* context) {
  relu(PD_KernelContextGetDeviceContext(context), PD_KernelContextInputAt(context, 0),
       PD_KernelContextOutputAt(context, 0));
}

static void relu_grad_static(PD_KernelContext* context) {
  relu_grad(PD_KernelContextGetDeviceContext(context), PD_KernelContextInputAt(context, 0),
            PD_KernelContextInputAt(context, 1), PD_KernelContextOutputAt(context, 0));
}

static void stale_static(PD_KernelContext* context) {
  (void)context;
  abort();
}

static void stale(void) { abort(); }

static void announce(const char* name, size_t n_inputs, size_t n_attributes, PD_ArgumentType attribute,
                     void (*graph)(PD_KernelContext*), void* eager) {
  PD_ArgumentType inputs[] = {PD_ARG_TENSOR, PD_ARG_TENSOR};
  PD_ArgumentType outputs[] = {PD_ARG_TENSOR};
  PD_RegisterPhiKernel(name, DEVICE_TYPE, FLOAT32, 0, n_inputs, inputs, n_attributes, &attribute, 1, outputs,
                       no_definition, graph, eager);
}

__attribute__((visibility("default"))) void InitPlugin(PD_RuntimeParams* params) {
  init_plain(params);
  announce("relu", 1, 0, PD_ARG_BOOL, relu_static, (void*)relu);
  announce("relu_grad", 2, 0, PD_ARG_BOOL, relu_grad_static, (void*)relu_grad);
  announce("subtract", 2, 0, PD_ARG_BOOL, add_float32_static, (void*)add_float32);
  announce("multiply", 2, 1, PD_ARG_INT32, stale_static, (void*)stale);
  announce("leaky_relu", 1, 1, PD_ARG_FLOAT32, stale_static, (void*)stale);
}
