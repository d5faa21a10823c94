/* The table that every native plugin library exports under the symbol `adapter_sdk_plugin_table`.
 *
 * It is the single place where a plugin states what it is: the Python hooks return what stands here, so hooks and
 * library cannot disagree. Valid C and C++; every struct starts with its size, so fields can be appended without
 * breaking a reader built for an older contract. Strings are UTF-8, NUL-terminated and live as long as the library.
 */
#ifndef ADAPTER_SDK_PLUGIN_TABLE_H
#define ADAPTER_SDK_PLUGIN_TABLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Readers refuse another major number; a minor number only appends fields. */
#define ADAPTER_CONTRACT_MAJOR 1
#define ADAPTER_CONTRACT_MINOR 1

/* Data types, numbered as Paddle's PD_DataType. */
enum {
  ADAPTER_UNDEFINED = 0,
  ADAPTER_BOOL = 1,
  ADAPTER_UINT8 = 2,
  ADAPTER_UINT16 = 3,
  ADAPTER_UINT32 = 4,
  ADAPTER_UINT64 = 5,
  ADAPTER_INT8 = 6,
  ADAPTER_INT16 = 7,
  ADAPTER_INT32 = 8,
  ADAPTER_INT64 = 9,
  ADAPTER_FLOAT16 = 10,
  ADAPTER_FLOAT32 = 11,
  ADAPTER_FLOAT64 = 12,
  ADAPTER_BFLOAT16 = 13
};

/* Who wrote a kernel: the vendor, or the SDK's host implementation (counts as a stand-in, never for a certificate). */
enum { ADAPTER_PROVENANCE_OWN = 1, ADAPTER_PROVENANCE_REFERENCE = 2 };

/* What became of a declared kernel when the library was mounted into Paddle. */
enum { ADAPTER_NOT_MOUNTED = 0, ADAPTER_REGISTERED = 1, ADAPTER_REFUSED = 2 };

/* Kernel row flags. The SDK sets OTHER_PADDLE on a refused kernel whose operator and signature are those of another
 * known release; a refused kernel without it fits no Paddle at all. */
enum { ADAPTER_KERNEL_FUSED = 1u, ADAPTER_KERNEL_OTHER_PADDLE = 2u };

typedef struct AdapterKernelRow {
  uint32_t struct_size;
  uint32_t flags;
  const char* operator_name; /* phi kernel name, e.g. "softmax_grad" */
  const char* signature;     /* "inputs|attributes|outputs", e.g. "Tensor,Tensor|bool,bool|Tensor" */
  int32_t dtype;             /* kernel key, ADAPTER_FLOAT32 ... */
  int32_t accumulator;       /* dtype in which sums are held; ADAPTER_UNDEFINED where nothing is summed */
  int32_t provenance;
  int32_t registration;
  const char* refusal;   /* why it was refused, or NULL */
  uint64_t eager_calls;  /* calls since load, counted on entry */
  uint64_t static_calls; /* the same under the static graph executor (PIR) */
} AdapterKernelRow;

typedef struct AdapterPeak {
  int32_t dtype;
  double tflops; /* dense GEMM peak of one card, 10^12 floating point operations per second */
} AdapterPeak;

/* A tensor as a tool sees it during a kernel call. `data` is a device address. */
typedef struct AdapterTensorView {
  void* data;
  int32_t dtype;
  int32_t rank;
  int64_t dims[9];
} AdapterTensorView;

enum { ADAPTER_PHASE_BEFORE = 0, ADAPTER_PHASE_AFTER = 1 };

typedef struct AdapterKernelCall {
  uint32_t struct_size;
  int32_t phase;
  const AdapterKernelRow* row;
  int32_t card;
  int32_t is_static;
  void* stream;
  size_t n_inputs;
  AdapterTensorView* inputs;
  size_t n_outputs; /* outputs have data == NULL in the BEFORE phase, unless the call is in place */
  AdapterTensorView* outputs;
} AdapterKernelCall;

/* Called around every kernel while installed. Returning non-zero in the BEFORE phase skips the kernel.
 * Used by tracing and by the planted faults; no plugin installs one itself. */
typedef int32_t (*AdapterInterposer)(void* user, AdapterKernelCall* call);

/* Checks done by the SDK around each kernel call while switched on; each costs a stream synchronisation. */
enum {
  ADAPTER_CHECK_POISON = 1u, /* freshly allocated outputs are filled with 0xCB before the kernel runs */
  ADAPTER_CHECK_CANARY = 2u  /* outputs are over-allocated; the bytes behind them must be intact afterwards */
};

enum { ADAPTER_COPY_H2D = 0, ADAPTER_COPY_D2H = 1, ADAPTER_COPY_D2D = 2 };

/* Device features declared by the plugin. */
enum {
  ADAPTER_FEATURE_ASYNC_STREAMS = 1u,
  ADAPTER_FEATURE_HOST_UNREADABLE = 2u, /* host code that dereferences a device address faults */
  ADAPTER_FEATURE_COLLECTIVES = 4u,
  ADAPTER_FEATURE_PROFILER = 8u
};

typedef struct AdapterPluginTable {
  uint32_t struct_size;
  uint32_t contract_major;
  uint32_t contract_minor;
  uint32_t features;
  const char* name;
  const char* vendor;
  const char* version;
  const char* device_type;
  const char* sub_device_type;
  const char* paddle_versions; /* PEP 440 specifier, e.g. ">=3.0,<3.4" */
  const char* sdk_version;     /* of the headers that the library was built with */
  const AdapterPeak* peaks;
  size_t n_peaks;
  /* Cheap queries; they work without Paddle. A negative return is an error, see last_error(). */
  int32_t (*card_count)(void);
  int64_t (*memory_bytes)(int32_t card);
  size_t (*kernel_count)(void);
  const AdapterKernelRow* (*kernel_at)(size_t index);
  /* State of the mount: ADAPTER_NOT_MOUNTED, ADAPTER_REGISTERED or ADAPTER_REFUSED, and a sentence on it. */
  int32_t (*mount_state)(void);
  const char* (*mount_message)(void);
  const char* (*last_error)(void); /* last error of the calling thread, never NULL */
  /* Tools; they need the library to be mounted. Return 0, or non-zero with last_error() set. */
  void (*set_checks)(uint32_t mask);
  void (*set_interposer)(AdapterInterposer interposer, void* user);
  int32_t (*copy)(int32_t card, int32_t kind, void* dst, const void* src, size_t bytes);
  int32_t (*synchronize)(int32_t card);
  /* Bytes that the device itself has handed out on a card (not Paddle's pool statistics). */
  int64_t (*allocated_bytes)(int32_t card);
} AdapterPluginTable;

#define ADAPTER_PLUGIN_TABLE_SYMBOL "adapter_sdk_plugin_table"

#ifdef __cplusplus
}
#endif
#endif
