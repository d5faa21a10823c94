"""Reads the call counters in a library's kernel rows, all at once."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapter_sdk import _table

__all__ = ["CallCounters"]

_WORD = ctypes.sizeof(ctypes.c_uint64)


class CallCounters:
    """The counters of ``rows``: pairs of a key, ``"operator/dtype"``, and a row of the library's table.

    The rows lie anywhere in the library's data. One array is laid over the whole span, and the counters alone are
    picked from it, so that what lies between them is never read. Reading 2000 rows so takes some 50 microseconds, one
    by one through ctypes a millisecond, several times in each case.
    """

    def __init__(self, rows: Sequence[tuple[str, _table.KernelRowStruct]]) -> None:
        places: dict[str, int] = {}
        for key, _ in rows:
            places.setdefault(key, len(places))
        self.rows = len(rows)
        """Rows of the table. Those that differ only in signature share a key."""
        self.keys = tuple(places)
        """In the order of :meth:`read`."""
        self._places = places
        offsets = (_table.KernelRowStruct.eager_calls.offset, _table.KernelRowStruct.static_calls.offset)
        addresses = np.array([ctypes.addressof(row) + offset for _, row in rows for offset in offsets], dtype=np.int64)
        self._targets = np.array([2 * places[key] + column for key, _ in rows for column in (0, 1)], dtype=np.int64)
        base = int(addresses.min()) if rows else 0
        self._indices, odd = np.divmod(addresses - base, _WORD)
        if odd.any():
            raise ValueError("a kernel row of the library's table is not aligned")
        words = int(self._indices.max()) + 1 if rows else 0
        self._span = np.ctypeslib.as_array((ctypes.c_uint64 * words).from_address(base)) if rows else np.empty(0)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def read(self) -> NDArray[np.int64]:
        """(eager, static) calls since the library was loaded, a row a key."""
        totals = np.zeros(2 * len(self.keys), dtype=np.int64)
        np.add.at(totals, self._targets, self._span[self._indices].astype(np.int64))
        return totals.reshape(-1, 2)
