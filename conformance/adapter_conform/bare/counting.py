"""Counts the calls of kernels that know nothing of counting, eager and static apart.

In Paddle's KernelFactory each kernel has two functions, for eager calls and for graphs. Both are exchanged for a few
instructions that raise a counter and jump to the device's own function, whose arguments, stack and return value stay as
they were. What the counters show is therefore that the very function ran which the device has registered: a fallback to
the CPU, or Paddle's generic kernels, leave them where they are.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from adapter_conform.errors import ConformError
from adapter_sdk._kernel_factory import KernelFactory, pointer

__all__ = ["KernelCounters"]

_STUB = struct.Struct("<4s2sQ4s2sQ3s")
_STUB_BYTES = 32


class KernelCounters:
    """Counters for every key of ``device_type`` that ``kernels`` (operator, dtype) names.

    Read as :class:`adapter_sdk._counters.CallCounters` is. They stay in place until the process ends, since programs
    keep copies of what the factory held when they were built.

    Raises:
        ConformError: this machine has another processor than x86-64, or allows no memory with instructions in it.
    """

    def __init__(self, factory: KernelFactory, device_type: str, kernels: Iterable[tuple[str, str]]) -> None:
        if platform.machine() != "x86_64":
            raise ConformError(
                f"a bare device can be judged on x86-64 only, this machine is {platform.machine()}\n"
                "Write a plugin around the library: its kernels count their own calls everywhere."
            )
        wanted = set(kernels)
        places = [
            (f"{operator}/{row.key[2]}", factory.find(operator, row.key))
            for operator, rows in factory.registrations().items()
            for row in rows
            if row.key[0] == device_type and (operator, row.key[2]) in wanted
        ]
        self.keys = tuple(dict.fromkeys(key for key, _ in places))
        """``"operator/dtype"``, in the order of :meth:`read`."""
        self._rows = {key: number for number, key in enumerate(self.keys)}
        self._counts = np.zeros((len(self.keys), 2), dtype=np.int64)
        self._code = _executable(2 * len(places) * _STUB_BYTES)
        self._used = 0
        for key, address in places:
            self._install(address + factory.VARIADIC, self._rows[key], 0)
            self._install(address + factory.FUNCTION, self._rows[key], 1)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def read(self) -> NDArray[np.int64]:
        """(eager, static) calls since the session was opened, a row a key."""
        return self._counts.copy()

    def _install(self, place: int, row: int, column: int) -> None:
        function = pointer(place)
        if not function:
            return
        counter = self._counts.ctypes.data + self._counts.strides[0] * row + self._counts.strides[1] * column
        stub = _STUB.pack(
            b"\xf3\x0f\x1e\xfa",  # endbr64
            *(b"\x49\xbb", counter),  # mov r11, counter: a register that no argument travels in
            b"\xf0\x49\xff\x03",  # lock inc qword [r11]
            *(b"\x49\xbb", function),  # mov r11, function
            b"\x41\xff\xe3",  # jmp r11
        )
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._code, self._used))
        self._code[self._used : self._used + len(stub)] = stub
        self._used += _STUB_BYTES
        ctypes.c_uint64.from_address(place).value = start


def _executable(size: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, max(size, mmap.PAGESIZE), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError as error:
        raise ConformError(
            f"the system gives no memory that may hold instructions ({error.strerror}), which the counters in front "
            "of a bare device's kernels take\nAllow it (SELinux: execmem), or write a plugin around the library."
        ) from error
