"""The callbacks that a plugin gave to Paddle, called without Paddle in between.

Some do what Paddle's Python never asks for, e.g. ``stream_add_callback``; of others it hides the answer. Each call goes
to the very function that Paddle holds.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from adapter_conform.runtime.errors import CheckFailed, NotApplicable

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["Callbacks", "StreamCallback"]

StreamCallback = c.CFUNCTYPE(None, c.POINTER(c.c_int), c.c_void_p, c.c_void_p, c.POINTER(c.c_int))
"""``C_Callback``: card, stream, user data, status to be set."""

_CARD = c.POINTER(c.c_int)
_SIZE = c.POINTER(c.c_size_t)
_SUCCESS = 0


class Callbacks:
    """Memory, copies, streams and queries of one card, by the names of the slots.

    Raises, in every method:
        NotApplicable: the library does not tell what it gave to Paddle, or leaves the slot empty.
        CheckFailed: the callback reported a failure.
    """

    def __init__(self, session: Session, card: int) -> None:
        self._interface = session.library.interface()
        self.card = card
        if not self._interface.slots:
            raise NotApplicable("the library's SDK is too old to tell which callbacks it gave to Paddle")

    # -- memory

    def allocate(self, size: int) -> int:
        """The address of ``size`` bytes on the card; 0 where there is no memory left."""
        return self._address("device_memory_allocate", size)

    def deallocate(self, address: int, size: int) -> None:
        self._call("device_memory_deallocate", (c.c_void_p, c.c_size_t), address, size)

    def fill(self, address: int, value: int, size: int) -> None:
        self._call("device_memory_set", (c.c_void_p, c.c_ubyte, c.c_size_t), address, value, size)

    def allocate_host(self, size: int) -> int:
        return self._address("host_memory_allocate", size)

    def deallocate_host(self, address: int, size: int) -> None:
        self._call("host_memory_deallocate", (c.c_void_p, c.c_size_t), address, size)

    def memory_stats(self) -> tuple[int, int]:
        """Bytes of the card in all, and free."""
        total, free = c.c_size_t(), c.c_size_t()
        self._call("device_memory_stats", (_SIZE, _SIZE), c.byref(total), c.byref(free))
        return total.value, free.value

    # -- copies

    def copy(self, slot: str, target: int, source: int, size: int) -> None:
        """``slot``: ``"memory_copy_h2d"``, ``"memory_copy_d2h"`` or ``"memory_copy_d2d"``."""
        self._call(slot, (c.c_void_p, c.c_void_p, c.c_size_t), target, source, size)

    def copy_async(self, slot: str, stream: int, target: int, source: int, size: int) -> None:
        """``slot``: as for :meth:`copy`, with ``async_`` in front."""
        self._call(slot, (c.c_void_p, c.c_void_p, c.c_void_p, c.c_size_t), stream, target, source, size)

    def copy_peer(self, from_card: int, target: int, source: int, size: int) -> None:
        """To this card from another one."""
        kinds = (_CARD, c.c_void_p, c.c_void_p, c.c_size_t)
        self._call("memory_copy_p2p", kinds, c.byref(c.c_int(from_card)), target, source, size)

    def copy_peer_async(self, from_card: int, stream: int, target: int, source: int, size: int) -> None:
        kinds = (_CARD, c.c_void_p, c.c_void_p, c.c_void_p, c.c_size_t)
        self._call("async_memory_copy_p2p", kinds, c.byref(c.c_int(from_card)), stream, target, source, size)

    # -- streams

    def create_stream(self) -> int:
        return self._address("create_stream")

    def destroy_stream(self, stream: int) -> None:
        self._call("destroy_stream", (c.c_void_p,), stream)

    def synchronize_stream(self, stream: int) -> None:
        self._call("synchronize_stream", (c.c_void_p,), stream)

    def add_callback(self, stream: int, function: Any, user: int) -> None:
        """Has ``function``, a :data:`StreamCallback` that the caller keeps alive, called behind the stream's work."""
        self._call("stream_add_callback", (c.c_void_p, StreamCallback, c.c_void_p), stream, function, user)

    # -- queries

    def size(self, slot: str) -> int:
        """What a slot answers that has one number to tell, e.g. ``"device_min_chunk_size"``."""
        value = c.c_size_t()
        if slot.startswith("get_") and not self._interface.queries_take_card:
            self._succeed(slot, self.function(slot, _SIZE)(c.byref(value)))
        else:
            self._call(slot, (_SIZE,), c.byref(value))
        return value.value

    def flag(self, slot: str) -> bool:
        value = c.c_bool()
        self._call(slot, (c.POINTER(c.c_bool),), c.byref(value))
        return value.value

    @property
    def filled(self) -> list[str]:
        """Slots in which Paddle was given something."""
        return [name for name, address in self._interface.slots.items() if address]

    @property
    def empty(self) -> list[str]:
        return [name for name, address in self._interface.slots.items() if not address]

    def function(self, slot: str, *kinds: Any) -> Callable[..., int]:
        """The function in a slot, which returns its status."""
        address = self._interface.slots.get(slot, 0)
        if not address:
            raise NotApplicable(f"the plugin leaves the slot {slot} empty, or this Paddle has none of that name")
        return c.CFUNCTYPE(c.c_int, *kinds)(address)

    def _call(self, slot: str, kinds: tuple[Any, ...], *arguments: Any) -> None:
        self._succeed(slot, self.function(slot, _CARD, *kinds)(c.byref(c.c_int(self.card)), *arguments))

    def _address(self, slot: str, *sizes: int) -> int:
        found = c.c_void_p()
        kinds = (c.POINTER(c.c_void_p), *(c.c_size_t for _ in sizes))
        self._call(slot, kinds, c.byref(found), *sizes)
        return found.value or 0

    def _succeed(self, slot: str, status: int) -> None:
        if status != _SUCCESS:
            raise CheckFailed(f"the callback {slot} reported failure (status {status})")
