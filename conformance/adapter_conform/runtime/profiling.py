"""Paddle's profiler on the device: the kernels that ran stand in its trace, when they ran, and for how long."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from adapter_conform.runtime.bench import Bench
from adapter_conform.runtime.check import check
from adapter_conform.runtime.errors import CheckFailed, NotApplicable

__all__: list[str] = []

_CALLBACKS = (
    "profiler_initialize",
    "profiler_finalize",
    "profiler_prepare_tracing",
    "profiler_start_tracing",
    "profiler_stop_tracing",
    "profiler_collect_trace_data",
)
_ADD, _MULTIPLY = "add/float32", "multiply/float32"
_LARGE, _SMALL = 1 << 21, 1 << 8
_ROUNDING = 2.0
"""Microseconds: a trace holds beginnings in whole ones."""


@dataclass(frozen=True)
class _Event:
    """One event of a chrome trace; microseconds since 1970."""

    name: str
    category: str
    begin: float
    length: float
    correlation: int
    stream: int

    @property
    def end(self) -> float:
        return self.begin + self.length


@check(
    "framework/profiler",
    "Paddle's profiler shows every kernel that ran, by its name, in its order, within the time in which it ran, and "
    "the runtime's calls.",
    covers=(*_CALLBACKS, "stream_add_callback", "the table tells the truth"),
    kernels=(_ADD, _MULTIPLY),
    repeat=(10, 30, 200),
    timeout=120.0,
)
def profiler(bench: Bench) -> None:
    if not bench.promises("profiler"):
        raise NotApplicable(f"plugin {bench.session.plugin.name!r} does not declare the feature profiler")
    names, events, window = _traced(bench)
    kernels = sorted((event for event in events if event.category == "Kernel"), key=lambda event: event.begin)
    calls = [event for event in events if event.category == "CudaRuntime"]
    found = [event.name for event in kernels]
    bench.demand(found == names, f"{len(names)} kernels ran, the trace has {_difference(names, found)}")
    for event in kernels + calls:
        bench.demand(event.length > 0, f"{event.name} lasted {event.length} us")
        inside = window[0] - _ROUNDING <= event.begin and event.end <= window[1] + _ROUNDING
        bench.demand(inside, f"{event.name} lasted from {event.begin} to {event.end}, the profile from {window}")
    for earlier, later in pairwise(kernels):
        apart = earlier.stream != later.stream or earlier.end <= later.begin + _ROUNDING
        bench.demand(apart, f"{earlier.name} ended at {earlier.end}, after {later.name} began on the same stream")
    _caused(bench, kernels, calls)
    _plausible(bench, kernels)
    bench.notes["events"] = {"kernels": len(kernels), "runtime": len(calls), "calls": sorted({c.name for c in calls})}


def _traced(bench: Bench) -> tuple[list[str], list[_Event], tuple[float, float]]:
    """Kernels in the order in which they were launched, the trace of them, and when it was taken."""
    paddle = bench.paddle
    large, small = (bench.tensor(np.zeros(size, np.float32)) for size in (_LARGE, _SMALL))
    one, tiny = (bench.tensor(np.ones(size, np.float32)) for size in (_LARGE, _SMALL))
    bench.synchronize()
    target = paddle.profiler.ProfilerTarget
    taken = paddle.profiler.Profiler(
        targets=[target.CPU, target.CUSTOM_DEVICE],
        custom_device_types=[bench.device_type],
        on_trace_ready=lambda _profiler: None,  # by default it writes into the working directory
    )
    begun = time.time_ns() / 1e3
    with bench.computing(_ADD, at_least=bench.repetitions), bench.computing(_MULTIPLY, at_least=bench.repetitions):
        taken.start()
        for _ in range(bench.repetitions):
            large.add_(one)
            small.multiply_(tiny)
        bench.synchronize()
        taken.stop()
    window = (begun, time.time_ns() / 1e3)
    bench.holds("a sum under the profiler", np.full(_LARGE, bench.repetitions, np.float32), large)
    with tempfile.TemporaryDirectory(prefix="adapter-conform-") as folder:
        path = Path(folder) / "trace.json"
        taken.export(str(path), format="json")
        events = _read(path)
    return [_ADD, _MULTIPLY] * bench.repetitions, events, window


def _read(path: Path) -> list[_Event]:
    return [
        _Event(
            name=event["name"].rpartition("[")[0],  # "add/float32[917.170 us]"
            category=event["cat"],
            begin=float(event["ts"]),
            length=float(event["dur"]),
            correlation=int(event["args"].get("correlation id", 0)),
            stream=int(event["args"].get("stream", 0)),
        )
        for event in json.loads(path.read_text())["traceEvents"]
        if event.get("ph") == "X"
    ]


def _caused(bench: Bench, kernels: list[_Event], calls: list[_Event]) -> None:
    """Each kernel has a call of the runtime that launched it, and does not begin before that."""
    by_number = {event.correlation: event for event in calls}
    for kernel in kernels:
        call = by_number.get(kernel.correlation)
        if call is None:
            raise CheckFailed(f"{kernel.name} belongs to no call of the runtime")
        bench.demand(
            call.begin <= kernel.begin + _ROUNDING,
            f"{kernel.name} began at {kernel.begin}, before {call.name}, which launched it, at {call.begin}",
        )
    bench.demand(
        any(call.name.startswith("synchronize") for call in calls),
        f"the runtime was synchronised, but the trace has calls of {sorted({call.name for call in calls})} only",
    )


def _plausible(bench: Bench, kernels: list[_Event]) -> None:
    """Eight thousand times the work takes longer."""
    times: dict[str, Any] = {
        name: statistics.median(event.length for event in kernels if event.name == name) for name in (_ADD, _MULTIPLY)
    }
    bench.notes["median_us"] = times
    bench.demand(
        times[_ADD] > times[_MULTIPLY],
        f"{_LARGE} additions took {times[_ADD]} us, and {_SMALL} multiplications {times[_MULTIPLY]}",
    )


def _difference(wanted: list[str], found: list[str]) -> str:
    if sorted(wanted) == sorted(found):
        return "the same in another order"
    return f"{len(found)}: {', '.join(f'{found.count(name)} {name}' for name in sorted({*wanted, *found}))}"
