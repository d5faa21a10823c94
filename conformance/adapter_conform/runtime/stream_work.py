"""What streams do beside waiting: callbacks in their order, and whether work on them is asynchronous at all."""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

import numpy as np

from adapter_conform.runtime.bench import Bench
from adapter_conform.runtime.callbacks import StreamCallback
from adapter_conform.runtime.check import check
from adapter_conform.runtime.streams import Chain

__all__: list[str] = []

_ADD = "add/float32"
_PATIENCE_SECONDS = 60.0
_CALLBACKS = 12


class _Calls:
    """Notes the callbacks that a stream made."""

    def __init__(self, expected: int) -> None:
        self.seen: list[tuple[int, int, int]] = []
        """(card, stream, user data)"""
        self._expected = expected
        self._all = threading.Event()
        self.function = StreamCallback(self._call)

    def _call(self, card: Any, stream: int | None, user: int | None, _status: Any) -> None:
        self.seen.append((int(card[0]), stream or 0, user or 0))
        if len(self.seen) >= self._expected:
            self._all.set()

    def wait(self) -> bool:
        return self._all.wait(_PATIENCE_SECONDS)


@check(
    "streams/callbacks",
    "Callbacks on a stream are made once each, in their order, after the work before them, and hold back what follows.",
    covers=("stream_add_callback", "kernels run on their stream"),
    kernels=(_ADD,),
    repeat=(3, 20, 200),
)
def callbacks(bench: Bench) -> None:
    device, calls_of = bench.paddle.device, bench.callbacks()
    chain = Chain.long_enough(bench)
    stream, other = device.Stream(), device.Stream()
    handle = stream._as_parameter_.value
    chain.expect_seen_from(other, "before the first callback")
    late = 0
    with bench.computing(_ADD, at_least=bench.repetitions):
        for turn in range(bench.repetitions):
            noted = _Calls(_CALLBACKS)
            wanted = [(bench.card, handle, 1000 * turn + number + 1) for number in range(_CALLBACKS)]
            with device.stream_guard(stream):
                for *_, user in wanted:
                    chain.run(4)
                    calls_of.add_callback(handle, noted.function, user)
            late += len(noted.seen) < _CALLBACKS
            made = noted.wait()
            chain.expect_seen_from(other, "when the last of the callbacks had been made")
            stream.synchronize()
            found = list(noted.seen)
            bench.demand(made, f"{len(found)} of {_CALLBACKS} callbacks were made within {_PATIENCE_SECONDS:g} s")
            bench.demand(found == wanted, f"callbacks (card, stream, user data) came as {found}, not as {wanted}")
    bench.notes["pending_when_given"] = f"{late} of {bench.repetitions}"


@check(
    "streams/asynchrony",
    "Whether a launch returns before its work is done, and whether streams wait for each other unasked, is reported.",
    covers=("query_event", "kernels run on their stream", "the table tells the truth"),
    kernels=(_ADD,),
    repeat=(8, 20, 100),
)
def asynchrony(bench: Bench) -> None:
    """Neither is an error: a stream that is synchronous keeps every promise of order, and is slow."""
    device = bench.paddle.device
    chain = Chain.long_enough(bench)
    stream, other = device.Stream(), device.Stream()
    chain.expect_seen_from(other, "before the first chain")
    small, one = bench.tensor(np.zeros(64, np.float32)), bench.tensor(np.ones(64, np.float32))
    behind = ahead = 0
    shares = []
    with bench.computing(_ADD, at_least=bench.repetitions):
        for _ in range(bench.repetitions):
            event = device.Event()
            begun = time.perf_counter()
            with device.stream_guard(stream):
                chain.run()
            launched = time.perf_counter()
            event.record(stream)
            pending = not event.query()
            with device.stream_guard(other):
                small.add_(one)
            other.synchronize()
            behind += pending
            ahead += pending and not event.query()
            stream.synchronize()
            shares.append((launched - begun) / (time.perf_counter() - begun))
    chain.expect("after the chains on one stream")
    bench.holds("the sums on another stream", np.full(64, bench.repetitions, np.float32), small)
    declared = bench.promises("async_streams")
    bench.notes["asynchrony"] = {
        "declared": declared,
        "still_running_when_launched": f"{behind} of {bench.repetitions}",
        "other_stream_done_first": f"{ahead} of {behind}",
        "share_of_time_in_launches": round(statistics.median(shares), 3),
    }
    if not behind:
        boast = ", although the plugin declares asynchronous ones" if declared else ""
        bench.notices.append(
            f"streams are synchronous{boast}: none of {bench.repetitions} chains of kernels was still running when "
            f"their launches had returned, which took {statistics.median(shares):.0%} of the time"
        )
    elif not ahead:
        bench.notices.append(
            f"streams wait for each other: work on an idle stream never came to its end before that of a busy one, "
            f"in {behind} attempts"
        )
