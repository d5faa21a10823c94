"""A slow leak: calls in rounds, and what the process holds after each round.

Caches, pools and fragmentation grow for a while and come to rest; a leak grows in every round. So the figure is the
smallest growth of any round after the first, for each call of a round, and measuring ends as soon as every measure has
had a round within its limit: a healthy operator takes two or three rounds. A leak in one call of ``calls`` is seen.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from adapter_conform.cases import GateFigure
from adapter_conform.runtime.errors import NotApplicable

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["LIMITS", "ROUNDS", "leak_figures", "smallest_growth"]

ROUNDS = 12
"""At most, and the first does not count."""

LIMITS = {"tensors": 0.0, "device": 0.0, "malloc": 64.0, "resident": 4096.0, "handles": 0.0}
"""Growth for each call: bytes that Paddle counts as held by tensors on the card, bytes that the device has handed out
(0 where it cannot say), bytes in use by malloc (0 where the C library does not tell), bytes of anonymous memory of the
process, for what is mapped past malloc, and its open files and threads. Host memory is used by other threads too, so
malloc is allowed a little. What is mapped comes in pages, so a page is allowed: calls that make tensors of arrays cost,
in Paddle 3.3.1, 112 bytes of Python's own memory for each, on any device."""


def leak_figures(session: Session, prepare: Callable[[], Callable[[], object]], calls: int) -> list[GateFigure]:
    """Makes rounds of ``calls`` calls and says how much each measure grew.

    Args:
        prepare: puts the inputs on the device and returns the call to be made again and again; called once a round.

    Raises:
        Exception: whatever ``prepare`` and the call raise.
    """
    with _quick_collection():
        series = [_measured(session)]
        for _ in range(ROUNDS):
            call = prepare()
            for _ in range(calls):
                call()
            del call
            gc.collect()
            series.append(_measured(session))
            growth = {name: smallest_growth([item[name] for item in series]) / calls for name in LIMITS}
            if len(series) > 2 and all(growth[name] <= LIMITS[name] for name in LIMITS):
                break
    note = f"in each of {len(series) - 2} rounds of {calls} calls, after a first one"
    return [
        GateFigure("leak", name, value, LIMITS[name], value <= LIMITS[name], note if value > LIMITS[name] else "")
        for name, value in growth.items()
    ]


def smallest_growth(series: Sequence[float]) -> float:
    """Of any round after the first; infinite where there is none, and zero where it shrank."""
    steps = [later - earlier for earlier, later in pairwise(series[1:])]
    return max(0.0, float(min(steps))) if steps else float("inf")


def _measured(session: Session) -> dict[str, float]:
    session.paddle.device.synchronize(session.device)
    card = int(session.device.partition(":")[2])
    return {
        "tensors": session.paddle.base.core.device_memory_stat_current_value("Allocated", card),
        "device": _handed_out(session, card),
        "malloc": _malloced_bytes(),
        "resident": _anonymous_bytes(),
        "handles": len(os.listdir("/proc/self/fd")) + len(os.listdir("/proc/self/task")),
    }


def _handed_out(session: Session, card: int) -> int:
    """0 where the device has no way to say."""
    try:
        return session.library.allocated_bytes(card)
    except NotApplicable:
        return 0


class _Mallinfo(ctypes.Structure):
    """struct mallinfo2 of the GNU C library."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def _malloced_bytes() -> int:
    """In use, in all arenas and in pieces mapped by themselves; mallinfo2 is there from glibc 2.33 on."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return 0
    ask.restype = _Mallinfo
    found = ask()
    return int(found.uordblks + found.hblkhd)


def _anonymous_bytes() -> int:
    """Resident and swapped; what maps files is left out."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(status[name].split()[0]) * 1024 for name in ("RssAnon", "VmSwap"))


@contextmanager
def _quick_collection() -> Iterator[None]:
    """Puts aside all objects that there are, so that Python looks for garbage among the new ones alone."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
