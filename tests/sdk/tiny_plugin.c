/* The smallest plugin library: a table, three kernels, no Paddle. Macros make it wrong in chosen ways. */
#include "adapter_sdk/plugin_table.h"

#ifndef NAME
#define NAME "tinychip"
#endif
#ifndef KIND
#define KIND NAME
#endif
#ifndef MAJOR
#define MAJOR ADAPTER_CONTRACT_MAJOR
#endif
#ifndef SIZE
#define SIZE sizeof(AdapterPluginTable)
#endif
#ifndef CARDS
#define CARDS 2
#endif
#ifndef MEMORY
#define MEMORY 4096
#endif
#ifndef DTYPE
#define DTYPE ADAPTER_FLOAT32
#endif
#ifndef STATE
#define STATE ADAPTER_NOT_MOUNTED
#endif
#ifndef CARD_COUNT
#define CARD_COUNT card_count
#endif

static AdapterKernelRow rows[] = {
    {sizeof(AdapterKernelRow), 0, "matmul", "Tensor,Tensor|bool,bool|Tensor", ADAPTER_FLOAT32, ADAPTER_FLOAT64,
     ADAPTER_PROVENANCE_OWN, ADAPTER_REGISTERED, 0, 3, 1},
    {sizeof(AdapterKernelRow), ADAPTER_KERNEL_FUSED | ADAPTER_KERNEL_OTHER_PADDLE, "swiglu", "Tensor,Tensor||Tensor",
     DTYPE, ADAPTER_UNDEFINED, ADAPTER_PROVENANCE_REFERENCE, ADAPTER_REFUSED, "given x, expected y", 0, 0},
    {sizeof(AdapterKernelRow), 0, "matmul", "Tensor,Tensor|bool|Tensor", ADAPTER_FLOAT32, ADAPTER_FLOAT64,
     ADAPTER_PROVENANCE_OWN, ADAPTER_NOT_MOUNTED, 0, 4, 0},
};
static const AdapterPeak peaks[] = {{ADAPTER_FLOAT32, 1.5}, {ADAPTER_BFLOAT16, 3.0}};
static uint32_t checks;

static int32_t card_count(void) { return CARDS; }
static int64_t memory_bytes(int32_t card) { return card < CARDS ? MEMORY : -1; }
static size_t kernel_count(void) { return sizeof(rows) / sizeof(rows[0]); }
static const AdapterKernelRow* kernel_at(size_t index) {
  rows[0].eager_calls += index == 99; /* a test's way to make a call */
  return index < 3 ? &rows[index] : 0;
}
static int32_t mount_state(void) { return STATE; }
static const char* mount_message(void) { return "Paddle 9.9 is unknown"; }
static const char* last_error(void) { return "no such card"; }
static void set_checks(uint32_t mask) { checks = mask; }
static int64_t allocated_bytes(int32_t card) { return card + 16 * checks; }
static int32_t copy(int32_t card, int32_t kind, void* dst, const void* src, size_t bytes) {
  size_t i;
  for (i = 0; i < bytes; ++i) ((char*)dst)[i] = ((const char*)src)[i];
  return card < CARDS ? 0 : kind + 1;
}

__attribute__((visibility("default"))) AdapterPluginTable adapter_sdk_plugin_table = {
    SIZE,
    MAJOR,
    ADAPTER_CONTRACT_MINOR,
    ADAPTER_FEATURE_ASYNC_STREAMS | ADAPTER_FEATURE_HOST_UNREADABLE,
    NAME,
    "Acme",
    "1.2",
    KIND,
    0,
    ">=3.0,<3.4",
    "0.1",
    peaks,
    2,
    CARD_COUNT,
    memory_bytes,
    kernel_count,
    kernel_at,
    mount_state,
    mount_message,
    last_error,
    set_checks,
    0 /* set_interposer */,
    copy,
    0 /* synchronize */,
    allocated_bytes};
