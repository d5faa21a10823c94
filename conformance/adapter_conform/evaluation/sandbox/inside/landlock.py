"""Takes the file system and TCP from this process by Landlock (Linux 5.13, landlock(7)). Standard library only."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

__all__ = ["abi", "restrict"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ABI_ONLY = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_RIGHTS_OF_A_FILE = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""ABI -> all rights that it knows."""
_TCP = 3
_ABSTRACT_SOCKETS_AND_SIGNALS = 3


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = int(libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def abi() -> int:
    """The version that the kernel offers; 0 where it offers none."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ABI_ONLY))
    except OSError:
        return 0


def restrict(readable: Iterable[str]) -> int:
    """From now on only what lies under ``readable`` can be read, and nothing be written, made, removed or run.

    Where the kernel can (ABI 4), TCP is taken away too; from ABI 6 on, abstract sockets and signals to others.

    Returns:
        The ABI in force.

    Raises:
        OSError: the kernel refuses.
    """
    version = abi()
    if not version:
        raise OSError("this kernel offers no Landlock")
    rights = _RIGHTS_OF_A_FILE[min(version, max(_RIGHTS_OF_A_FILE))]
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _Ruleset(rights, _TCP if version >= 4 else 0, _ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0)
    handle = _call(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    for path in readable:
        _allow(handle, path)
    _call(_RESTRICT_SELF, ctypes.c_int(handle), ctypes.c_uint32(0))
    os.close(handle)
    return version


def _allow(handle: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    allowed = _READ_FILE | _READ_DIR if os.path.isdir(path) else _READ_FILE
    rule = _PathBeneath(allowed, place)
    _call(_ADD_RULE, ctypes.c_int(handle), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    os.close(place)
