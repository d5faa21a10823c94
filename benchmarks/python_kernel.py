"""What an eager call of a kernel written in Python costs, beside a native one: pychip against a plain C device.

    python benchmarks/python_kernel.py [--rounds N] [--calls N]

In one process, taking turns, calls on 16 floats: ``paddle.add`` on the plain C device of eager_add.py;
``paddle.multiply`` on pychip, whose function is replaced by one that does nothing, so that only the call is left
(trampoline, interpreter's lock, three NumPy arrays); and ``paddle.add`` on pychip as it is, with its body. The goal is
on the empty call: at most 1.2 times the plain C call, which does compute.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pychip
from eager_add import ELEMENTS, PLAIN_C, open_devices, operands
from machine import describe_machine

GOAL = 1.2
"""Largest ratio of an empty call on pychip to the plain C device's call."""
_WARM_UP = 20


def main() -> int:
    """Measures and prints. Returns 0, or 1 when the goal is missed."""
    options = _options()
    _empty("multiply")
    folder = Path(tempfile.mkdtemp(prefix="python_kernel_"))
    try:
        rows = _measure(folder, options.rounds, options.calls)
    finally:
        shutil.rmtree(folder)
    return _report(rows, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000, metavar="N", help="turns that each gets")
    parser.add_argument("--calls", type=int, default=200, metavar="N", help="calls timed in one turn")
    return parser.parse_args()


def _empty(operator: str) -> None:
    for place, kernel in enumerate(pychip.KERNELS):
        if kernel.operator == operator:
            pychip.KERNELS[place] = dataclasses.replace(kernel, function=lambda context, x, y, out: None)


def _measure(folder: Path, rounds: int, calls: int) -> dict[str, list[float]]:
    """ns per call in each round."""
    paddle, device = open_devices("pychip", folder)
    native, own = operands(paddle, PLAIN_C), operands(paddle, device)
    turns: dict[str, tuple[str, Callable[..., Any], Any]] = {
        "plain C": (PLAIN_C, paddle.add, native),
        "pychip, empty body": (device, paddle.multiply, own),
        "pychip, add": (device, paddle.add, own),
    }
    rows: dict[str, list[float]] = {name: [] for name in turns}
    gc.disable()
    for _ in range(rounds):
        for name, (place, function, inputs) in turns.items():
            paddle.set_device(place)
            rows[name].append(_time(function, inputs, calls))
    return rows


def _time(function: Callable[..., Any], inputs: Any, calls: int) -> float:
    for _ in range(_WARM_UP):
        function(*inputs)
    start = time.perf_counter_ns()
    for _ in range(calls):
        function(*inputs)
    return (time.perf_counter_ns() - start) / calls


def _report(rows: dict[str, list[float]], options: argparse.Namespace) -> int:
    print(describe_machine())
    print(f"method   {options.rounds} interleaved rounds of {options.calls} calls on {ELEMENTS} floats\n")
    print(f"{'':<20} {'ns per call':>11} {'p10':>6} {'x plain C':>10}")
    ratios = {}
    for name, own in rows.items():
        ratios[name] = statistics.median(a / b for a, b in zip(own, rows["plain C"], strict=True))
        tenth = statistics.quantiles(own, n=10)[0]
        print(f"{name:<20} {statistics.median(own):>11.0f} {tenth:>6.0f} {ratios[name]:>10.3f}")
    met = ratios["pychip, empty body"] <= GOAL
    print(f"\ngoal: an empty call at most {GOAL} x plain C: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
