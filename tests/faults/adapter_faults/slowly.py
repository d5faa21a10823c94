"""What no single call shows: leaks, a little at a time, and calls that get into each other's way."""

from __future__ import annotations

import os
import time
from typing import Any

from adapter_faults.call import Call
from adapter_faults.table import after

__all__: list[str] = []


def _one_in(turns: int, call: Call) -> list[Any] | None:
    """Where to keep something in one call of so many; None in the others."""
    call.memory["calls"] = call.memory.get("calls", 0) + 1
    if call.memory["calls"] % turns:
        return None
    call.changed = True
    kept: list[Any] = call.memory.setdefault("kept", [])
    return kept


@after("leaky_relu/float32", sees="leak", example="leak-0")
def kept_scratch(call: Call) -> None:
    """A slow leak: one call in fifty never gives its scratch memory on the device back."""
    import paddle

    if (kept := _one_in(50, call)) is not None:
        kept.append(paddle.empty([64], "float32"))


@after("erf/float32", sees="leak", example="leak-0")
def forgotten_host_memory(call: Call) -> None:
    """A slow leak: one call in ten leaves 16 KiB of the host's memory behind."""
    if (kept := _one_in(10, call)) is not None:
        kept.append(bytearray(b"\1" * 16384))


@after("reciprocal/float32", sees="leak", example="leak-0")
def forgotten_handle(call: Call) -> None:
    """A slow leak: one call in fifty leaves a file open."""
    if (kept := _one_in(50, call)) is not None:
        kept.append(os.open(os.devnull, os.O_RDONLY))


@after("logsigmoid/float32", sees="threads", example="threads-0")
def shared_scratch(call: Call) -> None:
    """All calls work in one scratch buffer without a lock: of two that overlap, one gets the other's result."""
    call.memory["scratch"] = call.output()
    time.sleep(0.002)  # the work takes a while, and Python lets go of its lock meanwhile
    call.write(call.memory["scratch"])
