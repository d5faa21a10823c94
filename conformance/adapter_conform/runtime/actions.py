"""What :func:`adapter_conform.runtime.child.run_child` has done in a process of its own.

``python -m adapter_conform.runtime.actions PLUGIN SEED CARD ACTION`` prints what it finds as lines of JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from adapter_conform.runtime.bench import Bench
from adapter_conform.session import Session, open_session

__all__ = ["main"]

_STEPS = 200
_ELEMENTS = 1 << 20
_KEPT: list[Any] = []
"""Lives until the interpreter tears its modules down."""


def main(plugin: str, seed: str, card: str, action: str) -> None:
    session = open_session(plugin, int(seed), int(card))
    _ACTIONS[action](session)


def _read_device_memory(session: Session) -> None:
    bench = Bench(session, session.seed)
    data = bench.bits(4096, "uint8")
    tensor = bench.tensor(data)
    bench.stored("a page of bytes", data, tensor)
    _say(place=session.device)
    _say(read=ctypes.string_at(tensor.data_ptr(), 16).hex())


def _leave_busy(session: Session) -> None:
    """Leaves through the interpreter's ordinary end, with kernels in flight and tensors, streams and events alive."""
    bench = Bench(session, session.seed)
    total, one = bench.tensor(np.zeros(_ELEMENTS, np.float32)), bench.tensor(np.ones(_ELEMENTS, np.float32))
    stream, event = bench.paddle.device.Stream(), bench.paddle.device.Event()
    before = session.library.calls().get("add/float32", (0, 0))[0]
    with bench.paddle.device.stream_guard(stream):
        for _ in range(_STEPS):
            total.add_(one)
        event.record(stream)
    calls = session.library.calls().get("add/float32", (0, 0))[0] - before
    _KEPT.extend([total, one, stream, event])
    _say(place=session.device, calls=calls, busy=not event.query())


_ACTIONS: dict[str, Callable[[Session], None]] = {"read_device_memory": _read_device_memory, "leave_busy": _leave_busy}


def _say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
