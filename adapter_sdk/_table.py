"""ctypes mirror of ``plugin_table.h`` and ``collectives_table.h``; a test compares the offsets with the compiler's."""

from __future__ import annotations

import ctypes as c

from adapter_sdk.dtypes import DTYPE_CODES

__all__ = [
    "CHECK_CANARY",
    "CHECK_POISON",
    "COLLECTIVES_SYMBOL",
    "DTYPE_NAMES",
    "FEATURES",
    "INTERPOSER",
    "KERNEL_FUSED",
    "KERNEL_OTHER_PADDLE",
    "PHASE_AFTER",
    "PHASE_BEFORE",
    "PROVENANCES",
    "REGISTRATIONS",
    "SYMBOL",
    "CollectiveRowStruct",
    "CollectivesTableStruct",
    "InterfaceTableStruct",
    "KernelCallStruct",
    "KernelRowStruct",
    "PeakStruct",
    "PluginTableStruct",
    "SlotRowStruct",
    "TensorViewStruct",
]

SYMBOL = "adapter_sdk_plugin_table"
COLLECTIVES_SYMBOL = "adapter_sdk_collectives_table"
INTERFACE_SYMBOL = "adapter_sdk_interface_table"
DTYPE_NAMES = {code: name for name, code in DTYPE_CODES.items()}
FEATURES = {"async_streams": 1, "host_unreadable": 2, "collectives": 4, "profiler": 8}
KERNEL_FUSED, KERNEL_OTHER_PADDLE = 1, 2
CHECK_POISON, CHECK_CANARY = 1, 2
PHASE_BEFORE, PHASE_AFTER = 0, 1
PROVENANCES = {1: "own", 2: "reference"}
REGISTRATIONS = {0: "not_mounted", 1: "registered", 2: "refused"}


class KernelRowStruct(c.Structure):
    """AdapterKernelRow."""

    _fields_ = (
        ("struct_size", c.c_uint32),
        ("flags", c.c_uint32),
        ("operator_name", c.c_char_p),
        ("signature", c.c_char_p),
        ("dtype", c.c_int32),
        ("accumulator", c.c_int32),
        ("provenance", c.c_int32),
        ("registration", c.c_int32),
        ("refusal", c.c_char_p),
        ("eager_calls", c.c_uint64),
        ("static_calls", c.c_uint64),
    )


class PeakStruct(c.Structure):
    """AdapterPeak."""

    _fields_ = (("dtype", c.c_int32), ("tflops", c.c_double))


class TensorViewStruct(c.Structure):
    """AdapterTensorView."""

    _fields_ = (
        ("data", c.c_void_p),
        ("dtype", c.c_int32),
        ("rank", c.c_int32),
        ("dims", c.c_int64 * 9),
    )


class KernelCallStruct(c.Structure):
    """AdapterKernelCall."""

    _fields_ = (
        ("struct_size", c.c_uint32),
        ("phase", c.c_int32),
        ("row", c.POINTER(KernelRowStruct)),
        ("card", c.c_int32),
        ("is_static", c.c_int32),
        ("stream", c.c_void_p),
        ("n_inputs", c.c_size_t),
        ("inputs", c.POINTER(TensorViewStruct)),
        ("n_outputs", c.c_size_t),
        ("outputs", c.POINTER(TensorViewStruct)),
    )


INTERPOSER = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.POINTER(KernelCallStruct))
"""AdapterInterposer."""


class PluginTableStruct(c.Structure):
    """AdapterPluginTable."""

    _fields_ = (
        ("struct_size", c.c_uint32),
        ("contract_major", c.c_uint32),
        ("contract_minor", c.c_uint32),
        ("features", c.c_uint32),
        ("name", c.c_char_p),
        ("vendor", c.c_char_p),
        ("version", c.c_char_p),
        ("device_type", c.c_char_p),
        ("sub_device_type", c.c_char_p),
        ("paddle_versions", c.c_char_p),
        ("sdk_version", c.c_char_p),
        ("peaks", c.POINTER(PeakStruct)),
        ("n_peaks", c.c_size_t),
        ("card_count", c.CFUNCTYPE(c.c_int32)),
        ("memory_bytes", c.CFUNCTYPE(c.c_int64, c.c_int32)),
        ("kernel_count", c.CFUNCTYPE(c.c_size_t)),
        ("kernel_at", c.CFUNCTYPE(c.POINTER(KernelRowStruct), c.c_size_t)),
        ("mount_state", c.CFUNCTYPE(c.c_int32)),
        ("mount_message", c.CFUNCTYPE(c.c_char_p)),
        ("last_error", c.CFUNCTYPE(c.c_char_p)),
        ("set_checks", c.CFUNCTYPE(None, c.c_uint32)),
        ("set_interposer", c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)),
        ("copy", c.CFUNCTYPE(c.c_int32, c.c_int32, c.c_int32, c.c_void_p, c.c_void_p, c.c_size_t)),
        ("synchronize", c.CFUNCTYPE(c.c_int32, c.c_int32)),
        ("allocated_bytes", c.CFUNCTYPE(c.c_int64, c.c_int32)),
    )


class CollectiveRowStruct(c.Structure):
    """AdapterCollectiveRow."""

    _fields_ = (("struct_size", c.c_uint32), ("operation", c.c_char_p), ("calls", c.c_uint64))


class CollectivesTableStruct(c.Structure):
    """AdapterCollectivesTable."""

    _fields_ = (
        ("struct_size", c.c_uint32),
        ("n_rows", c.c_size_t),
        ("rows", c.POINTER(CollectiveRowStruct)),
        ("set_interposer", c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)),
    )


class SlotRowStruct(c.Structure):
    """AdapterSlotRow."""

    _fields_ = (("struct_size", c.c_uint32), ("name", c.c_char_p), ("function", c.c_void_p))


class InterfaceTableStruct(c.Structure):
    """AdapterInterfaceTable."""

    _fields_ = (
        ("struct_size", c.c_uint32),
        ("queries_take_card", c.c_int32),
        ("n_rows", c.c_size_t),
        ("rows", c.POINTER(SlotRowStruct)),
    )
