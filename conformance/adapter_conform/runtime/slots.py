"""What a runtime promises: the callbacks of Paddle's device interface that the SDK fills, and the contract's own words.

Every check names what it covers out of these, so that a report can tell what was shown and what was not.
"""

from __future__ import annotations

__all__ = ["COVERABLE", "PROMISES", "SLOTS"]

SLOTS = (
    "initialize",
    "finalize",
    "init_device",
    "set_device",
    "get_device",
    "deinit_device",
    "create_stream",
    "destroy_stream",
    "query_stream",
    "stream_add_callback",
    "create_event",
    "record_event",
    "destroy_event",
    "query_event",
    "synchronize_device",
    "synchronize_stream",
    "synchronize_event",
    "stream_wait_event",
    "device_memory_allocate",
    "device_memory_deallocate",
    "device_memory_set",
    "host_memory_allocate",
    "host_memory_deallocate",
    "memory_copy_h2d",
    "memory_copy_d2h",
    "memory_copy_d2d",
    "memory_copy_p2p",
    "async_memory_copy_h2d",
    "async_memory_copy_d2h",
    "async_memory_copy_d2d",
    "async_memory_copy_p2p",
    "get_device_count",
    "get_device_list",
    "device_memory_stats",
    "device_min_chunk_size",
    "get_compute_capability",
    "get_runtime_version",
    "get_driver_version",
    "is_float16_supported",
    "is_bfloat16_supported",
)
"""Callbacks, as ``C_DeviceInterface`` calls them."""

PROMISES = (
    "kernels run on their stream",
    "kernel errors become Python exceptions",
    "no fallback to the CPU",
    "host memory is free again when a copy returns",
    "host code cannot read device memory",
    "the table tells the truth",
    "calls from several threads",
    "static graph execution",
    "the process ends cleanly",
    "forked workers do no harm",
)
"""What device.h, kernel.h and plugin_table.h promise beyond single callbacks."""

COVERABLE = frozenset(SLOTS + PROMISES)
