"""What the conformance harness costs: cases a second on small operators, and where the time of a case goes.

    python benchmarks/harness.py --plugin refchip [--jobs N] [--repeats N]

Three measurements.

1. Cases a second: `adapter-conform` itself, with its workers, records and reports, on every small eager case of the
   smoke profile. The time to plan, to start the workers and to write the reports is shown apart.
2. Overhead of the supervisor per case: the time that the same run's workers were there, per case, less the seconds
   that its records say the cases took. Two pipes, a record on disk, and the hand-over from one case to the next.
3. Inside a case: seconds of `suite.run` by what they were spent on, measured in this process without the supervisor.
   "device" is the call and its gradients themselves; "oracle" computes what must come of them and compares; "proof" is
   the reading of call counters and synchronising; the rest makes inputs and copies to and fro.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapter_conform import execution, expectation, judge
from adapter_conform.plan import Plan, PlannedCase, RunOptions, load_suites, make_plan
from adapter_conform.session import KernelCalls, Session, open_session
from machine import describe_machine

import adapter_sdk

GOAL = 100
"""Small cases a second on two cores."""
MOST_ELEMENTS = 4096
"""A case is small when none of its inputs has more."""


def main() -> int:
    """Measures and prints. Returns 0, or 1 when the goal is missed."""
    options = _options()
    print(describe_machine())
    plan = _plan(options.plugin)
    small = [planned for planned in plan.cases if _is_small(planned)]
    print(f"cases    {len(small)} small eager ones of {len(plan.cases)} in suite ops, profile smoke\n")
    rate = _measure_run(options.plugin, options.jobs, small)
    _measure_inside(options.plugin, small, options.repeats)
    met = rate >= GOAL
    print(f"\ngoal: {GOAL} cases/s: {rate:.0f}, {'met' if met else 'MISSED'}", flush=True)
    os._exit(0 if met else 1)  # Paddle's teardown says nothing about the harness


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plugin", required=True, metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="worker processes")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="passes over the cases in one process")
    return parser.parse_args()


def _plan(plugin: str) -> Plan:
    options = RunOptions(plugin, ("ops",), "smoke", 0, Path("out"))
    return make_plan(options, load_suites(options.suites), adapter_sdk.load(plugin))


def _is_small(planned: PlannedCase) -> bool:
    payload = planned.case.payload
    sizes = [_elements(item["shape"]) for item in payload["example"]["inputs"]]
    return not payload["static"] and max(sizes, default=0) <= MOST_ELEMENTS


def _elements(shape: Sequence[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def _measure_run(plugin: str, jobs: int, small: Sequence[PlannedCase]) -> float:
    """Runs the tool and prints what a case costs in it; returns cases a second."""
    with tempfile.TemporaryDirectory(prefix="harness_") as folder:
        out = Path(folder) / "out"
        request = ["--plugin", plugin, "--suite", "ops", "--profile", "smoke", "--jobs", str(jobs), "--out", str(out)]
        command = [sys.executable, "-m", "adapter_conform", *request, "-k", "eager"]
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        whole = time.perf_counter() - start
        summary = json.loads((out / "results.json").read_text())
        records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
        events = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    (end,) = (event["elapsed_s"] for event in events if event["event"] == "end")
    starts = [event["elapsed_s"] for event in events if event["event"] == "worker"]
    inside = [record["seconds"] for record in records]
    names = {planned.case.id for planned in small}
    few = [record["seconds"] for record in records if record["id"] in names]
    worked = sum(end - start for start in starts)
    overhead = (worked - sum(inside)) / len(inside)
    rate = jobs / (statistics.fmean(few) + overhead)
    print(f"run      {summary['executed']} cases, {jobs} workers, verdict {summary['verdict']}")
    rate_of_all = len(inside) * len(starts) / worked
    print(f"  until the workers were ready          {statistics.fmean(starts):8.2f} s")
    print(f"  cases of all sizes                    {worked / len(starts):8.2f} s   {rate_of_all:.0f} cases/s")
    print(f"  reports, and the end of the process   {whole - end:8.2f} s")
    print(f"  in a small case, mean                 {statistics.fmean(few) * 1e3:8.2f} ms")
    print(f"  supervisor's overhead per case        {overhead * 1e3:8.2f} ms of one worker")
    print(f"  small cases                           {rate:8.0f} cases/s\n")
    return rate


class _Clock:
    """Adds up the time inside functions of modules, each wrapped for as long as the measurement goes on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Time spent in a nested measurement counts there alone."""
        self._inner.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - start
            nested = self._inner.pop()
            self._inner[-1] += took
            self.seconds[name] = self.seconds.get(name, 0.0) + took - nested

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, attribute)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.within(name):
                return function(*args, **kwargs)

        setattr(owner, attribute, timed)


def _measure_inside(plugin: str, small: Sequence[PlannedCase], repeats: int) -> None:
    warnings.simplefilter("ignore")
    session = open_session(plugin, 0)
    suite = load_suites(["ops"])[0].suite
    for planned in small:  # warm: Paddle compiles and caches on first use
        suite.run(planned.case, session)
    start = time.perf_counter()
    for planned in small * repeats:
        suite.run(planned.case, session)
    plain = (time.perf_counter() - start) / (len(small) * repeats)
    clock = _Clock()
    _instrument(clock, session)
    for planned in small * repeats:
        with clock.within("rest: inputs, copies"):
            suite.run(planned.case, session)
    calls = len(small) * repeats
    print(f"inside   {plain * 1e3:.2f} ms a small case without the supervisor; where it goes, clocks included:")
    for name, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1]):
        print(f"  {name:<36}  {seconds / calls * 1e3:8.3f} ms")


def _instrument(clock: _Clock, session: Session) -> None:
    for name in ("__init__", "judge", "cotangents"):
        clock.wrap(expectation.Expectation, name, "oracle and comparison")
    for name in ("absence", "declared_kernels", "disbelieved_refusals"):
        clock.wrap(judge, name, "declarations")
    clock.wrap(execution, "_callable", "device: forward")
    inner = execution._callable

    def call(*args: Any) -> Any:
        operator = inner(*args)

        def timed(tensors: list[Any]) -> Any:
            with clock.within("device: forward"):
                return operator(tensors)

        return timed

    execution._callable = call
    clock.wrap(session.paddle, "grad", "device: backward")
    watch = Session.watch

    @contextmanager
    def timed_watch(self: Session) -> Iterator[KernelCalls]:
        with clock.within("proof: counters, synchronising"):
            manager = watch(self)
            calls = manager.__enter__()
        try:
            yield calls
        finally:
            with clock.within("proof: counters, synchronising"):
                manager.__exit__(None, None, None)

    Session.watch = timed_watch  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
