/* The collectives' counters and tools, which a native plugin library exports under `adapter_sdk_collectives_table`.
 *
 * It stands beside plugin_table.h, since a device that works on one card alone has no use for it. Valid C and C++;
 * every struct starts with its size, so fields can be appended.
 */
#ifndef ADAPTER_SDK_COLLECTIVES_TABLE_H
#define ADAPTER_SDK_COLLECTIVES_TABLE_H

#include "adapter_sdk/plugin_table.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Reductions, numbered as Paddle's C_CCLReduceOp. */
enum {
  ADAPTER_REDUCE_SUM = 0,
  ADAPTER_REDUCE_AVG = 1,
  ADAPTER_REDUCE_MAX = 2,
  ADAPTER_REDUCE_MIN = 3,
  ADAPTER_REDUCE_PRODUCT = 4
};

typedef struct AdapterCollectiveRow {
  uint32_t struct_size;
  const char* operation; /* "comm_init", "all_reduce", "send"... */
  uint64_t calls;        /* since load, counted on entry */
} AdapterCollectiveRow;

/* One call as a tool sees it before it is enqueued, and after. Addresses are of the device. Before, the tool may change
 * every field but operation, phase, card, ranks and rank. */
typedef struct AdapterCollectiveCall {
  uint32_t struct_size;
  int32_t phase; /* ADAPTER_PHASE_BEFORE or ADAPTER_PHASE_AFTER */
  const AdapterCollectiveRow* row;
  int32_t card;
  int32_t dtype;
  int32_t reduction;
  size_t ranks; /* of the communicator */
  size_t rank;
  size_t peer;      /* root of broadcast and reduce, other end of send and recv */
  const void* send; /* NULL for recv */
  void* recv;       /* NULL for send */
  size_t count;     /* elements, as Paddle counts them for the operation */
  void* stream;
} AdapterCollectiveCall;

/* Non-zero in the BEFORE phase skips the call. */
typedef int32_t (*AdapterCollectiveInterposer)(void* user, AdapterCollectiveCall* call);

typedef struct AdapterCollectivesTable {
  uint32_t struct_size;
  size_t n_rows;
  const AdapterCollectiveRow* rows;
  void (*set_interposer)(AdapterCollectiveInterposer interposer, void* user);
} AdapterCollectivesTable;

#define ADAPTER_COLLECTIVES_TABLE_SYMBOL "adapter_sdk_collectives_table"

#ifdef __cplusplus
}
#endif
#endif
