"""Calls into Paddle's C++ core about the memory of a card: how much there is, and copies at raw addresses.

Paddle carries both out with the device's own callbacks. ``phi::Place`` is made by hand and believed only after Paddle
has printed it as the place that was meant.
"""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar

from adapter_sdk._kernel_factory import FactoryError, loaded

__all__ = ["copy_bytes", "memory_of"]

_CPU, _CUSTOM = 1, 9
"""phi::AllocationType."""
_NAME = "_ZNK3phi5Place11DebugStringB5cxx11Ev"
_STATS = "_ZN3phi13DeviceManager11MemoryStatsERKNS_5PlaceEPmS4_"
_COPY = "_ZN3phi12memory_utils4CopyERKNS_5PlaceEPvS3_PKvm"


class _Place(ctypes.Structure):
    """phi::Place."""

    _fields_: ClassVar = [("device", ctypes.c_int8), ("kind", ctypes.c_int8), ("type", ctypes.c_size_t)]


def memory_of(paddle: Any, device_type: str, card: int) -> int:
    """All memory of a card in bytes, as the device's ``device_memory_stats`` says."""
    total, free = ctypes.c_size_t(), ctypes.c_size_t()
    place = _place(device_type, card)
    selected = paddle.device.get_device()
    paddle.set_device(f"{device_type}:{card}")
    try:
        _function(_STATS)(ctypes.byref(place), ctypes.byref(total), ctypes.byref(free))
    finally:
        paddle.set_device(selected)
    return int(total.value)


def copy_bytes(destination: tuple[str, int], to: int, source: tuple[str, int], address: int, size: int) -> None:
    """Copies between raw addresses, complete on return. A place is ``("cpu", 0)`` or a device type with a card.

    Raises:
        FactoryError: this Paddle has no such function, or other places than it had.
    """
    target, origin = _place(*destination), _place(*source)
    _function(_COPY)(
        ctypes.byref(target), ctypes.c_void_p(to), ctypes.byref(origin), ctypes.c_void_p(address), ctypes.c_size_t(size)
    )


def _place(kind: str, card: int) -> _Place:
    if kind == "cpu":
        return _checked(_Place(0, _CPU, 0), "Place(cpu)")
    return _checked(_Place(card, _CUSTOM, _type_number(kind)), f"Place({kind}:{card})")


def _type_number(kind: str) -> int:
    from adapter_sdk._kernel_factory import KernelFactory

    return KernelFactory().type_number(kind)


def _checked(place: _Place, name: str) -> _Place:
    text = ctypes.create_string_buffer(32)  # the std::string that is returned; never destroyed, it is short
    _function(_NAME)(text, ctypes.byref(place))
    begin, size = (ctypes.c_uint64.from_buffer(text, offset).value for offset in (0, 8))
    printed = ctypes.string_at(begin, size).decode(errors="replace") if size < 256 else "something else"
    if printed != name:
        raise FactoryError(f"a place of this Paddle looks different: {name} reads {printed}")
    return place


def _function(symbol: str) -> Any:
    try:
        return loaded("libphi_core.so")[symbol]
    except AttributeError as error:
        raise FactoryError(f"libphi_core.so exports no {symbol}") from error
