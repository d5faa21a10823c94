"""Test only: a session on Paddle's own CPU kernels, to check the catalogue itself where no plugin is installed.

Paddle's log of API calls stands in for a plugin's call counters, so that the kernels which an entry names are checked
too; the environment has to switch it on before Paddle is imported, see test_on_cpu.py. Nothing here can make a device
pass: the product opens its sessions in ``adapter_conform.session`` alone.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from adapter_conform.session import KernelCalls, read_registry

DTYPES = ("float16", "bfloat16", "float32", "float64", "int32", "int64", "bool")
KERNEL_KEY = re.compile(rb"\] (\w+) API kernel key: \[[^,]+, [^,]+, ([\w:]+)\]")


@dataclass(frozen=True)
class FakeKernel:
    operator: str
    dtype: str
    accumulator: str = "undefined"


@dataclass
class FakePlugin:
    name: str = "cpu"
    kernels: list[FakeKernel] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Operators that the plugin's predicate refuses."""

    def kernel_supported(self, operator: str, dtype: str, attributes: Any = None) -> bool:
        return operator not in self.refused


class FakeLibrary:
    def set_checks(self, *, poison: bool, canary: bool) -> None:
        self.checks = (poison, canary)


class CpuSession:
    """Duck-typed as :class:`adapter_conform.session.Session`."""

    def __init__(self, paddle: ModuleType) -> None:
        self.paddle: Any = paddle
        self.device = "cpu"
        self.seed = 0
        self.plugin = FakePlugin()
        self.library = FakeLibrary()
        self._registry = read_registry(paddle, "CPU")

    def is_registered(self, operator: str, dtype: str) -> bool:
        return (operator, dtype) in self._registry

    @contextmanager
    def watch(self) -> Iterator[KernelCalls]:
        calls = KernelCalls()
        sys.stderr.flush()
        keep = os.dup(2)
        with tempfile.TemporaryFile() as log:
            os.dup2(log.fileno(), 2)
            try:
                yield calls
            finally:
                os.dup2(keep, 2)
                os.close(keep)
                log.seek(0)
                text = log.read()
                found = Counter(KERNEL_KEY.findall(text))
        for (name, dtype), count in found.items():
            key = f"{name.decode().rstrip('_')}/{dtype.decode()}"  # the API of an in-place operator ends in "_"
            calls.eager[key] = calls.eager.get(key, 0) + count
        if b"Trans2Contiguous" in text:  # the log does not say of which dtype
            calls.eager.update({f"contiguous/{dtype}": 1 for dtype in DTYPES})
