"""Reads from Paddle's printed programs on which backend each operator of a static graph was placed.

Under PIR the switch against CPU fallback has no effect and no log line tells of it; the lowered program does.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

__all__ = ["LoweredKernel", "LoweredProgram", "moved_to_host", "parse_lowered", "print_lowered"]

_SECTION = re.compile(r"^IR after .*$", re.IGNORECASE | re.MULTILINE)
_KERNEL = re.compile(
    r"^\s*\((?P<results>[^)]*)\) = \"[^\"]*\((?:phi|custom)_kernel\)\" \((?P<operands>[^)]*)\)"
    r".*?kernel_key:<backend:(?P<backend>\w+)\|[^|>]*\|dtype:(?P<dtype>\w+)>.*?kernel_name:\"(?P<operator>\w+)\"",
    re.MULTILINE,
)
_HOST = "CPU"
_CONSTANTS = frozenset({"full", "full_int_array", "assign_value"})
"""Operators that Paddle itself computes on the host: they have no input and hand attributes to other operators."""


@dataclass(frozen=True)
class LoweredKernel:
    """One kernel of a lowered program. Results and operands are value names such as ``"%12"``."""

    operator: str
    dtype: str
    backend: str
    results: tuple[str, ...]
    operands: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.operator}/{self.dtype}"


@dataclass
class LoweredProgram:
    """Filled when the block of :func:`print_lowered` ends."""

    kernels: tuple[LoweredKernel, ...] = ()

    def counts(self, device_type: str) -> Counter[str]:
        """``"operator/dtype"`` -> number of kernels placed on ``device_type``."""
        return Counter(kernel.key for kernel in self.kernels if kernel.backend == device_type)


@contextmanager
def print_lowered(paddle: ModuleType) -> Iterator[LoweredProgram]:
    """Has Paddle print the static programs that it prepares within the block, and reads the last one.

    Paddle prints from C++, so file descriptor 1 is pointed at a temporary file meanwhile; other threads must not print.
    """
    program = LoweredProgram()
    flag = "FLAGS_print_ir"
    before = paddle.get_flags(flag)[flag]
    sys.stdout.flush()
    saved = os.dup(1)
    with tempfile.TemporaryFile() as text:
        os.dup2(text.fileno(), 1)
        paddle.set_flags({flag: True})
        try:
            yield program
        finally:
            paddle.set_flags({flag: before})
            sys.stdout.flush()
            os.dup2(saved, 1)
            os.close(saved)
            text.seek(0)
            program.kernels = parse_lowered(text.read().decode(errors="replace"))


def parse_lowered(text: str) -> tuple[LoweredKernel, ...]:
    """The kernels of the last stage of lowering in ``text``; empty where nothing of the kind was printed."""
    stages = list(_SECTION.finditer(text))
    if not stages:
        return ()
    return tuple(
        LoweredKernel(
            operator=match["operator"],
            dtype=match["dtype"],
            backend=match["backend"],
            results=_values(match["results"]),
            operands=_values(match["operands"]),
        )
        for match in _KERNEL.finditer(text, stages[-1].end())
    )


def _values(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"%\w+", text))


def moved_to_host(kernels: Iterable[LoweredKernel]) -> list[LoweredKernel]:
    """Kernels that the CPU computes although they work on data of the device.

    Constants, and what is computed of constants alone, belong on the host and do not count.
    """
    constant: set[str] = set()
    moved = []
    for kernel in kernels:
        if kernel.backend != _HOST:
            continue
        if kernel.operator in _CONSTANTS or (kernel.operands and constant.issuperset(kernel.operands)):
            constant.update(kernel.results)
        else:
            moved.append(kernel)
    return moved
