"""What a runtime promises: the callbacks of Paddle's device interface that the SDK fills, and the contract's own words.

Every check names what it covers out of these, so that a report can tell what was shown and what was not.
"""

from __future__ import annotations

__all__ = ["COVERABLE", "COVERED_ELSEWHERE", "NOT_COVERED", "PROMISES", "SLOTS", "home_of"]

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
    "profiler_initialize",
    "profiler_finalize",
    "profiler_prepare_tracing",
    "profiler_start_tracing",
    "profiler_stop_tracing",
    "profiler_collect_trace_data",
    "device_max_chunk_size",
    "device_max_alloc_size",
    "device_extra_padding_size",
    "device_init_alloc_size",
    "device_realloc_size",
)
"""Callbacks that the SDK can fill, as ``C_DeviceInterface`` calls them; those of communication are in
:data:`COVERED_ELSEWHERE`."""

COVERED_ELSEWHERE = {"xccl_": "suite collectives"}
"""Beginning of a slot's name -> what calls it, with a check of its own in each case."""

NOT_COVERED = {
    "xccl_get_comm_name": "Paddle asks for it, and only logs the answer",
}
"""Slot that no check is about -> why."""

PROMISES = (
    "kernels run on their stream",
    "kernel errors become Python exceptions",
    "no fallback to the CPU",
    "host memory is free again when a copy returns",
    "host code cannot read device memory",
    "the table tells the truth",
    "memory in use is not given to others",
    "random numbers follow the seed",
    "calls from several threads",
    "static graph execution",
    "the process ends cleanly",
    "forked workers do no harm",
)
"""What device.h, kernel.h and plugin_table.h promise beyond single callbacks."""

COVERABLE = frozenset(SLOTS + PROMISES)


def home_of(slot: str) -> str:
    """What covers a slot besides the runtime suite, or why nothing does; empty where the suite has to."""
    if slot in NOT_COVERED:
        return f"not covered: {NOT_COVERED[slot]}"
    return next((home for start, home in COVERED_ELSEWHERE.items() if slot.startswith(start)), "")
