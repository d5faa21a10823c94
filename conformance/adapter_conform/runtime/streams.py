"""Streams and events: work on a stream is in order, and whoever waits for it sees its result.

Each check keeps a stream busy with a chain of dependent additions, waits in one way, and then reads the result by a
kernel on another stream, which nothing but that wait can hold back. A wait that does nothing reads a number too small.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from adapter_conform.runtime.bench import Bench
from adapter_conform.runtime.check import check
from adapter_conform.runtime.errors import CheckFailed

__all__ = ["Chain"]

_ADD = "add/float32"
_STEPS = 40
_BACKLOG_SECONDS = 0.005
_SMALLEST, _LARGEST = 1 << 18, 1 << 22
_PATIENCE_SECONDS = 30.0
_STREAMS = ("create_stream", "destroy_stream")
_EVENTS = ("create_event", "record_event", "destroy_event")


class Chain:
    """A tensor to which 1 is added again and again, each addition depending on the one before."""

    def __init__(self, bench: Bench, elements: int) -> None:
        self.bench, self.elements, self.sum = bench, elements, 0
        self.total = bench.tensor(np.zeros(elements, np.float32))
        self._one = bench.tensor(np.ones(elements, np.float32))
        self._zero = bench.tensor(np.zeros(elements, np.float32))

    @classmethod
    def long_enough(cls, bench: Bench) -> Chain:
        """A chain of elements so many that the stream is behind the host for some time, if it is asynchronous."""
        elements = _SMALLEST
        while True:
            chain = cls(bench, elements)
            bench.synchronize()
            chain.run()
            given = time.perf_counter()
            bench.synchronize()
            backlog = time.perf_counter() - given
            if backlog >= _BACKLOG_SECONDS or elements >= _LARGEST:
                bench.notes["backlog_seconds"], bench.notes["elements"] = backlog, elements
                return chain
            elements *= 4

    def run(self, steps: int = _STEPS) -> None:
        """Gives the current stream ``steps`` additions."""
        for _ in range(steps):
            self.total.add_(self._one)
        self.sum += steps

    def expect(self, what: str) -> None:
        """Demands the right sum, read by Paddle's ordinary copy to the host."""
        self.bench.holds(what, np.full(self.elements, self.sum, np.float32), self.total)

    def expect_seen_from(self, stream: Any, what: str) -> None:
        """Demands that a kernel on ``stream`` finds the right sum now."""
        with self.bench.paddle.device.stream_guard(stream):
            seen = self.total + self._zero
        stream.synchronize()
        self.bench.holds(what, np.full(self.elements, self.sum, np.float32), seen)


def _after_wait(bench: Bench, wait: Callable[[Any, Any, Any], None], what: str) -> None:
    """Runs chains on one stream; ``wait(stream, event, other)`` must make their result visible to another stream."""
    device = bench.paddle.device
    chain = Chain.long_enough(bench)
    stream, other = device.Stream(), device.Stream()
    chain.expect_seen_from(other, "before the first wait")  # a stream's first kernel may take it long: not below
    busy = 0
    with bench.computing(_ADD, at_least=bench.repetitions * (_STEPS + 1)):
        for _ in range(bench.repetitions):
            event = device.Event()
            with device.stream_guard(stream):
                chain.run()
            event.record(stream)
            busy += not event.query()
            wait(stream, event, other)
            chain.expect_seen_from(other, what)
            bench.synchronize()
    bench.notes["still_busy_when_asked"] = f"{busy} of {bench.repetitions}"


@check(
    "streams/order_within",
    "A long chain of dependent kernels and copies on one stream gives the exact result.",
    covers=("kernels run on their stream", "async_memory_copy_d2d"),
    kernels=(_ADD,),
    repeat=(400, 2_000, 20_000),
)
def order_within(bench: Bench) -> None:
    data = bench.counts(1000, limit=100)
    value = bench.tensor(data)
    term = bench.tensor(np.ones(1000, np.float32))
    with bench.computing(_ADD, at_least=bench.repetitions):
        for step in range(bench.repetitions):
            value = value + term
            if step % 7 == 0:
                value = value._copy_to(bench.place(), False)
    bench.holds(f"{bench.repetitions} dependent additions", data + np.float32(bench.repetitions), value)


@check(
    "streams/read_waits",
    "Reading a tensor right after an asynchronous kernel was given its stream sees the kernel's result.",
    covers=("memory_copy_d2h", "async_memory_copy_d2h", "kernels run on their stream"),
    kernels=(_ADD,),
    repeat=(8, 50, 500),
)
def read_waits(bench: Bench) -> None:
    chain = Chain.long_enough(bench)
    with bench.computing(_ADD, at_least=3 * _STEPS * bench.repetitions):
        for _ in range(bench.repetitions):
            chain.run()
            chain.expect("read by numpy()")
            chain.run()
            wanted = np.full(chain.elements, chain.sum, np.float32)
            bench.holds("moved to the CPU", wanted, chain.total.cpu())
            chain.run()
            wanted = np.full(chain.elements, chain.sum, np.float32)
            bench.stored("after a chain", wanted, chain.total)


@check(
    "streams/synchronize_device",
    "When the device has been synchronised, the work of all its streams is done.",
    covers=("synchronize_device", *_STREAMS),
    kernels=(_ADD,),
    repeat=(5, 20, 200),
)
def synchronize_device(bench: Bench) -> None:
    _after_wait(bench, lambda stream, event, other: bench.synchronize(), "after paddle.device.synchronize()")


@check(
    "streams/synchronize_stream",
    "When a stream has been synchronised, its work is done, and its query says so.",
    covers=("synchronize_stream", "query_stream", *_STREAMS),
    kernels=(_ADD,),
    repeat=(5, 20, 200),
)
def synchronize_stream(bench: Bench) -> None:
    def wait(stream: Any, event: Any, other: Any) -> None:
        stream.synchronize()
        bench.demand(stream.query(), "stream.query() is False right after stream.synchronize()")

    _after_wait(bench, wait, "after stream.synchronize()")


@check(
    "streams/synchronize_event",
    "When an event has been synchronised, the work before it is done, and its query says so.",
    covers=("synchronize_event", "query_event", *_EVENTS),
    kernels=(_ADD,),
    repeat=(5, 20, 200),
)
def synchronize_event(bench: Bench) -> None:
    def wait(stream: Any, event: Any, other: Any) -> None:
        event.synchronize()
        bench.demand(event.query(), "event.query() is False right after event.synchronize()")

    _after_wait(bench, wait, "after event.synchronize()")


@check(
    "streams/event_query",
    "An event says that it is done no sooner than it is, and says so in the end without being waited for.",
    covers=("query_event", *_EVENTS),
    kernels=(_ADD,),
    repeat=(5, 20, 200),
)
def event_query(bench: Bench) -> None:
    _after_wait(bench, lambda stream, event, other: _poll(event.query, "an event"), "after event.query() said True")


@check(
    "streams/stream_query",
    "A stream says that it is done no sooner than it is, and says so in the end without being waited for.",
    covers=("query_stream", *_STREAMS),
    kernels=(_ADD,),
    repeat=(5, 20, 200),
)
def stream_query(bench: Bench) -> None:
    _after_wait(bench, lambda stream, event, other: _poll(stream.query, "a stream"), "after stream.query() said True")


@check(
    "streams/wait_event",
    "A stream that was told to wait for an event sees the result of the work before it.",
    covers=("stream_wait_event", *_EVENTS, *_STREAMS),
    kernels=(_ADD,),
    repeat=(5, 20, 200),
)
def wait_event(bench: Bench) -> None:
    _after_wait(bench, lambda stream, event, other: other.wait_event(event), "on a stream that waits for the event")


@check(
    "streams/wait_stream",
    "A stream that was told to wait for another stream sees the result of its work.",
    covers=("stream_wait_event", *_STREAMS),
    kernels=(_ADD,),
    repeat=(5, 20, 200),
)
def wait_stream(bench: Bench) -> None:
    _after_wait(bench, lambda stream, event, other: other.wait_stream(stream), "on a stream that waits for the other")


@check(
    "streams/event_states",
    "An event never recorded counts as done; recorded anew, it stands for the newer work.",
    covers=("query_event", "synchronize_event", "stream_wait_event", *_EVENTS),
    kernels=(_ADD,),
)
def event_states(bench: Bench) -> None:
    device = bench.paddle.device
    event, stream, other = device.Event(), device.Stream(), device.Stream()
    bench.demand(event.query(), "an event that was never recorded says that it is not done")
    event.synchronize()
    other.wait_event(event)
    chain = Chain.long_enough(bench)
    with bench.computing(_ADD, at_least=2 * _STEPS):
        for turn in ("first", "second"):
            with device.stream_guard(stream):
                chain.run()
            event.record(stream)
            other.wait_event(event)
            chain.expect_seen_from(other, f"after the {turn} record of the same event")
            event.synchronize()
            bench.demand(event.query(), f"the event is not done after its {turn} record was waited for")


@check(
    "streams/destroyed_while_busy",
    "Streams and events may be destroyed while work is pending on them; the work is still done.",
    covers=("destroy_stream", "destroy_event", "synchronize_device"),
    kernels=(_ADD,),
    repeat=(5, 20, 200),
)
def destroyed_while_busy(bench: Bench) -> None:
    device = bench.paddle.device
    chain = Chain.long_enough(bench)
    with bench.computing(_ADD, at_least=_STEPS * bench.repetitions):
        for _ in range(bench.repetitions):
            stream, other, event = device.Stream(), device.Stream(), device.Event()
            with device.stream_guard(stream):
                chain.run()
            event.record(stream)
            other.wait_event(event)
            del event
            del stream
            chain.expect_seen_from(other, "when stream and event had been destroyed in mid-work")
            chain.expect("when stream and event had been destroyed in mid-work, read by numpy()")


def _poll(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise CheckFailed(f"{what} did not say within {_PATIENCE_SECONDS:g} s that it is done")
        time.sleep(0.0001)
