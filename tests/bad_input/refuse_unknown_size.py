"""Calls InitPlugin of the library in argv[1] as a Paddle would whose C_DeviceInterface has 999 bytes."""

from __future__ import annotations

import ctypes
import sys


class RuntimeParams(ctypes.Structure):
    """CustomRuntimeParams of device_ext.h."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("interface", ctypes.c_void_p),
        ("version", ctypes.c_size_t * 3),
        ("device_type", ctypes.c_char_p),
        ("sub_device_type", ctypes.c_char_p),
        ("pir_default_passes", ctypes.c_void_p),
        ("reserved", ctypes.c_char * 32),
    )


interface = (ctypes.c_size_t * 256)()
interface[0] = 999
params = RuntimeParams(ctypes.sizeof(RuntimeParams), ctypes.addressof(interface))
ctypes.CDLL(sys.argv[1]).InitPlugin(ctypes.byref(params))
print("device_type:", params.device_type)
print("slots written:", sum(slot != 0 for slot in interface[1:]))
