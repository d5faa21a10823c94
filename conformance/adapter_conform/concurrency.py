"""Calls that overlap: from several threads, or over several streams. Each caller has inputs of its own.

With the same inputs everywhere, two calls that share a buffer would write the same numbers into it, and nothing would
show. So each caller draws its own and makes the call once by itself; every later result must have the bits of that one.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from adapter_conform.cases import GateFigure
from adapter_conform.catalogue.bounds import Array
from adapter_conform.catalogue.gates import same_bits
from adapter_conform.catalogue.precision import is_float
from adapter_conform.catalogue.spec import Description, OperatorSpec
from adapter_conform.catalogue.values import make_cotangent, make_inputs
from adapter_conform.execution import call_once
from adapter_conform.tensors import from_tensor

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["STREAMS", "THREADS", "over_streams", "over_threads"]

THREADS = 4
STREAMS = 2

SWITCH_SECONDS = 1e-5
"""After which Python lets another thread go on; its default of 5 ms is longer than most calls."""

BARRIER_SECONDS = 60.0


class Caller:
    """One of several that call an operator at the same time.

    Args:
        number: draws other inputs than those of the other callers.
        backward: also takes gradients. Paddle's engine for them is one to a process, so callers in threads do not.
    """

    def __init__(
        self, session: Session, spec: OperatorSpec, example: Description, dtype: str, number: int, backward: bool
    ) -> None:
        self._paddle, self._spec, self._attributes = session.paddle, spec, example["attributes"]
        seed = int(example["seed"]) + 7_368_787 * number
        self._inputs = make_inputs({**example, "seed": seed}, dtype)
        self._cotangents: list[Array | None] = []
        self.alone = self.read(self.call())
        if backward and spec.differentiable(dtype):
            flowing = [is_float(item.dtype.name) and item.size > 0 for item in self.alone if item is not None]
            self._cotangents = [
                make_cotangent(item.shape, item.dtype.name, [seed, 1000 + index], False) if float_one else None
                for index, (item, float_one) in enumerate(zip(self.alone, flowing, strict=True))
                if item is not None
            ]
            self.alone = self.read(self.call())

    def call(self) -> list[Any]:
        """Results and gradients on the device, perhaps not there yet."""
        return call_once(self._paddle, self._spec, self._inputs, self._attributes, self._cotangents)

    @staticmethod
    def read(results: Sequence[Any]) -> list[Array | None]:
        return [None if item is None else from_tensor(item) for item in results]

    def differs(self, results: Sequence[Any]) -> bool:
        """Whether any bit is not as in the call made alone."""
        return not all(map(_same, self.alone, self.read(results))) or len(results) != len(self.alone)


def _same(left: Array | None, right: Array | None) -> bool:
    if left is None or right is None:
        return left is right
    return left.shape == right.shape and left.dtype == right.dtype and bool(same_bits(left, right).all())


def over_threads(session: Session, spec: OperatorSpec, example: Description, dtype: str, calls: int) -> GateFigure:
    """Calls ``spec`` that often from each of several threads at once, forward.

    Raises:
        Exception: whatever Paddle, the SDK or the plugin raises in a thread.
    """
    callers = [Caller(session, spec, example, dtype, number, backward=False) for number in range(THREADS)]
    together = threading.Barrier(THREADS)

    def work(caller: Caller) -> int:
        together.wait(BARRIER_SECONDS)
        return sum(caller.differs(caller.call()) for _ in range(calls))

    with _quick_switches(), ThreadPoolExecutor(THREADS) as pool:
        wrong = list(pool.map(work, callers))
    return _figure("threads", sum(wrong), THREADS * calls, f"from {THREADS} threads at once")


def over_streams(
    session: Session, spec: OperatorSpec, example: Description, dtype: str, calls: int, backward: bool
) -> GateFigure:
    """Submits ``calls`` calls of ``spec`` to several streams in turn before reading any result.

    Args:
        backward: gradients, too, where the operator has any.

    Raises:
        Exception: whatever Paddle, the SDK or the plugin raises.
    """
    device = session.paddle.device
    callers = [Caller(session, spec, example, dtype, number, backward) for number in range(STREAMS)]
    lanes = [device.Stream(session.device) for _ in range(STREAMS)]
    pending: list[tuple[Caller, list[Any]]] = []
    for turn in range(calls):
        caller = callers[turn % STREAMS]
        with device.stream_guard(lanes[turn % STREAMS]):
            pending.append((caller, caller.call()))
    device.synchronize(session.device)
    wrong = sum(caller.differs(results) for caller, results in pending)
    return _figure("streams", wrong, calls, f"over {STREAMS} streams")


def _figure(gate: str, wrong: int, calls: int, way: str) -> GateFigure:
    note = f"{calls} calls {way}"
    if wrong:
        note = f"{wrong} of {note}, each with inputs of its own, gave other bits than alone"
    return GateFigure(gate, "outputs", wrong, 0, not wrong, note)


@contextmanager
def _quick_switches() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
