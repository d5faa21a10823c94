/* What a native plugin library handed to Paddle, slot by slot, exported under `adapter_sdk_interface_table`.
 *
 * Paddle's Python reaches some callbacks of the device interface only by chance, and some not at all; a conformance run
 * calls them here. It stands beside plugin_table.h, since it means nothing before `import paddle`. Valid C and C++;
 * every struct starts with its size, so fields can be appended.
 */
#ifndef ADAPTER_SDK_INTERFACE_TABLE_H
#define ADAPTER_SDK_INTERFACE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct AdapterSlotRow {
  uint32_t struct_size;
  const char* name; /* as C_DeviceInterface calls it */
  void* function;   /* what Paddle was given; NULL where the plugin leaves the slot empty */
} AdapterSlotRow;

typedef struct AdapterInterfaceTable {
  uint32_t struct_size;
  int32_t queries_take_card; /* get_compute_capability and the versions take (C_Device, size_t*), from Paddle 3.1 on */
  size_t n_rows;             /* 0 before the library is mounted */
  const AdapterSlotRow* rows;
} AdapterInterfaceTable;

#define ADAPTER_INTERFACE_TABLE_SYMBOL "adapter_sdk_interface_table"

#ifdef __cplusplus
}
#endif
#endif
