"""What one eager call costs: ns per add of 16 floats on the CPU, on a plain C device and on a plugin's device.

    python benchmarks/eager_add.py --plugin refchip [--rounds N] [--adds N]

All three are in one process and take turns, round by round, so that what else the machine does meets them alike. The
plain C device (plain_c/plain_c.c, compiled here with $CC, else gcc) is the least that Paddle's C interface allows:
inline, no queue, no check. What a plugin costs above it is the SDK's and the plugin's own overhead.

"ns per call" is the time per add until the calls have returned: what the program pays. "us left" is how long the device
then still works on the whole round, synchronising included: a device that merely queued its work would show it there,
growing with --adds. The goal is set on the call.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from machine import describe_machine

import adapter_sdk

PLAIN_C = "plain_c:0"
GOAL = 1.05
"""Largest ratio of the plugin's call to the plain C device's."""

ELEMENTS = 16
_SOURCE = Path(__file__).resolve().parent / "plain_c" / "plain_c.c"
_HEADERS = Path(__file__).resolve().parent.parent / "csrc"
_WARM_UP = 20
"""Untimed calls before each block: the device's worker is awake then, as it is in a running program."""


@dataclass
class Timings:
    """Of each round."""

    call: list[float] = field(default_factory=list)
    """ns per add."""
    left: list[float] = field(default_factory=list)
    """ns for the whole round."""


def main() -> int:
    """Measures and prints. Returns 0, or 1 when the goal is missed."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="eager_add_"))
    try:
        paddle, device = open_devices(options.plugin, folder)
        timings = _measure(paddle, ["cpu", PLAIN_C, device], options.rounds, options.adds)
    finally:
        shutil.rmtree(folder)
    return _report(timings, device, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plugin", required=True, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=2000, metavar="N", help="turns that each device gets")
    parser.add_argument("--adds", type=int, default=200, metavar="N", help="adds timed in one turn")
    return parser.parse_args()


def open_devices(plugin: str, folder: Path) -> tuple[ModuleType, str]:
    """Paddle with both devices in it. mount() adds the plugin to the libraries of CUSTOM_DEVICE_ROOT."""
    compiler = os.environ.get("CC", "gcc")
    command = [compiler, "-O3", "-std=c11", "-shared", "-fPIC", "-fvisibility=hidden", "-I", str(_HEADERS)]
    subprocess.run([*command, str(_SOURCE), "-o", str(folder / "libplain_c.so"), "-ldl"], check=True)
    os.environ["CUSTOM_DEVICE_ROOT"] = str(folder)
    mounted = adapter_sdk.mount(plugin)
    import paddle

    mounted.confirm_mounted()
    paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
    return paddle, f"{mounted.device.device_type}:0"


def _measure(paddle: ModuleType, devices: Sequence[str], rounds: int, adds: int) -> dict[str, Timings]:
    inputs = {device: operands(paddle, device) for device in devices}
    timings = {device: Timings() for device in devices}
    gc.disable()
    for turn in range(rounds):
        first = turn % len(devices)
        for device in [*devices[first:], *devices[:first]]:
            call, left = time_adds(paddle, device, *inputs[device], adds)
            timings[device].call.append(call)
            timings[device].left.append(left)
    return timings


def operands(paddle: ModuleType, device: str) -> tuple[Any, Any]:
    paddle.set_device(device)
    x, y = (paddle.full([ELEMENTS], value) if device == "cpu" else _moved(paddle, value) for value in (1.0, 2.0))
    total = paddle.add(x, y).numpy()
    if total.shape != (ELEMENTS,) or (total != 3.0).any():
        raise RuntimeError(f"{device} cannot add: 1 + 2 gave {total}")
    return x, y


def _moved(paddle: ModuleType, value: float) -> Any:
    """A tensor on the current device, made on the host: the plain C device has no kernel but add."""
    return paddle.to_tensor([value] * ELEMENTS, dtype="float32")


def time_adds(paddle: ModuleType, device: str, x: Any, y: Any, adds: int) -> tuple[float, float]:
    """ns per add until the calls have returned, and ns until the device was done with all of them."""
    paddle.set_device(device)
    add, clock = paddle.add, time.perf_counter_ns
    for _ in range(_WARM_UP):
        add(x, y)
    _synchronize(paddle, device)
    start = clock()
    for _ in range(adds):
        add(x, y)
    returned = clock()
    _synchronize(paddle, device)
    return (returned - start) / adds, clock() - returned


def _synchronize(paddle: ModuleType, device: str) -> None:
    if device != "cpu":
        paddle.device.synchronize(device)


def _report(timings: dict[str, Timings], device: str, options: argparse.Namespace) -> int:
    print(describe_machine())
    print(f"method   {options.rounds} interleaved rounds of {options.adds} adds of {ELEMENTS} floats, paddle.add\n")
    print(f"{'':<12} {'ns per call':>11} {'p10':>6} {'x plain C':>10} {'us left':>8}")
    for name, own in timings.items():
        call, tenth = statistics.median(own.call), statistics.quantiles(own.call, n=10)[0]
        ratio, left = _ratio(own, timings[PLAIN_C]), statistics.median(own.left) / 1e3
        print(f"{name:<12} {call:>11.0f} {tenth:>6.0f} {ratio:>10.3f} {left:>8.1f}")
    ratio = _ratio(timings[device], timings[PLAIN_C])
    met = ratio <= GOAL
    print(f"\ngoal: {device} at most {GOAL} x {PLAIN_C}: {ratio:.3f}, {'met' if met else 'MISSED'}")
    return 0 if met else 1


def _ratio(own: Timings, other: Timings) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(own.call, other.call, strict=True))


if __name__ == "__main__":
    sys.exit(main())
