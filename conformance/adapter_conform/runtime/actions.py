"""What :func:`adapter_conform.runtime.child.run_child` has done in a process of its own.

``python -m adapter_conform.runtime.actions PLUGIN SEED CARD ACTION`` prints what it finds as lines of JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from adapter_conform.runtime.bench import Bench
from adapter_conform.session import Session, open_session

__all__ = ["main"]

_STEPS = 200
_ELEMENTS = 1 << 20
_FORK_PATIENCE = 30.0
"""Seconds that a fork may take to its end."""
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


def _fork_in_use(session: Session) -> None:
    """Forks while kernels are in flight: once to leave by the interpreter's ordinary end, once to compute."""
    bench = Bench(session, session.seed)
    total, one = bench.tensor(np.zeros(_ELEMENTS, np.float32)), bench.tensor(np.ones(_ELEMENTS, np.float32))
    before = session.library.calls().get("add/float32", (0, 0))[0]
    _say(place=session.device)
    for _ in range(_STEPS):
        total.add_(one)
    idle = os.fork()
    if idle == 0:
        sys.exit(0)
    ended = _ending(idle)
    using = os.fork()
    if using == 0:
        os._exit(_compute_in_fork(bench))
    how = _ending(using)
    for _ in range(_STEPS):
        total.add_(one)
    right = bool((total.numpy() == 2 * _STEPS).all())
    calls = session.library.calls().get("add/float32", (0, 0))[0] - before
    _say(idle=ended, using=_FORK_SAID.get(how, how), parent=right, calls=calls)


_FORK_SAID = {f"ended with exit code {code}": what for code, what in ((10, "computed right"), (11, "computed wrong"))}
_FORK_SAID["ended with exit code 12"] = "was refused"


def _compute_in_fork(bench: Bench) -> int:
    try:
        tensor = bench.paddle.to_tensor(np.full(1000, 3.0, np.float32), place=bench.place())
        return 10 if bool(((tensor + tensor).numpy() == 6.0).all()) else 11
    except Exception as error:  # to be refused is right; it is told apart by the exit code
        print(f"in the fork: {error}", file=sys.stderr)
        return 12


def _ending(process: int) -> str:
    deadline = time.monotonic() + _FORK_PATIENCE
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return f"died of signal {-code}" if code < 0 else f"ended with exit code {code}"
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return f"hung for {_FORK_PATIENCE:g} s"


_ACTIONS: dict[str, Callable[[Session], None]] = {
    "read_device_memory": _read_device_memory,
    "leave_busy": _leave_busy,
    "fork_in_use": _fork_in_use,
}


def _say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
