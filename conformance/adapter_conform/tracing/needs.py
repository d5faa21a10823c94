"""Which kernels a workload needs: from a trace, from recorded API calls, or from a list of kernels as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_conform.errors import UsageProblem
from adapter_conform.tracing.log import CONSTANTS
from adapter_conform.tracing.record import is_trace, read_trace

__all__ = ["Need", "Workload", "read_workloads"]


@dataclass
class Need:
    """A kernel that is needed. Any one of ``names`` serves: Paddle's releases call some operations by several."""

    names: tuple[str, ...]
    dtype: str
    calls: int = 0
    seconds: float = 0.0
    """On the host, where the workload was timed; of the recorded device, not of the plugin's."""
    workloads: set[str] = field(default_factory=set)


@dataclass
class Workload:
    """Needs by (names, dtype), and what could not be told."""

    needs: dict[tuple[tuple[str, ...], str], Need] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    """Reason -> number of calls whose kernels are not known."""

    def add(self, names: Iterable[str], dtype: str, calls: int, seconds: float, source: str) -> None:
        key = (tuple(names), dtype)
        need = self.needs.setdefault(key, Need(*key))
        need.calls += calls
        need.seconds += seconds
        need.workloads.add(source)

    def puzzle(self, reason: str, calls: int) -> None:
        self.unknown[reason] = self.unknown.get(reason, 0) + calls


def read_workloads(paths: Iterable[Path]) -> Workload:
    """All of ``paths`` together.

    Raises:
        UsageProblem: a file cannot be read, or is none of the three forms.
    """
    workload = Workload()
    for path in paths:
        _read(path, workload)
    return workload


def _read(path: Path, workload: Workload) -> None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            start = file.read(4096).lstrip()
    except OSError as error:
        raise UsageProblem(f"workload {path} cannot be read: {error.strerror or error}") from error
    if is_trace(start[:200]):
        _from_trace(path, workload)
    elif start.startswith("{"):
        _from_list(path, workload)
    else:
        _from_calls(path, workload)


def _from_trace(path: Path, workload: Workload) -> None:
    for use, amount in read_trace(path).kernels.items():
        by_design = use.operator in CONSTANTS and use.mode == "static" and not use.fell_back
        if not by_design and (use.wanted != "cpu" or use.backend == "cpu"):
            workload.add((use.operator,), use.dtype, amount.calls, amount.seconds, path.name)


def _from_list(path: Path, workload: Workload) -> None:
    """``{"workloads": {"NAME": {"rows": [{"kernel": ..., "dtype": ..., "calls": ...}]}}}``"""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        lists = data["workloads"].items()
        rows: list[tuple[str, dict[str, Any]]] = [(name, row) for name, item in lists for row in item["rows"]]
        for name, row in rows:
            calls, seconds = int(row.get("calls", 1)), float(row.get("seconds", 0.0))
            workload.add((str(row["kernel"]),), str(row["dtype"]), calls, seconds, name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageProblem(
            f"{path} is no list of kernels ({type(error).__name__}: {error}). Expected "
            '{"workloads": {"NAME": {"rows": [{"kernel": "matmul", "dtype": "float32", "calls": 4}]}}}'
        ) from error


def _from_calls(path: Path, workload: Workload) -> None:
    """Recorded API calls: of each the kernels that replay would demand."""
    from adapter_conform.replay.apis.table import Refusal
    from adapter_conform.replay.lines import prepare
    from adapter_conform.replay.parser import parse_file

    file = parse_file(path)
    for call in file.calls:
        try:
            line = prepare(call)
        except Refusal as refusal:
            workload.puzzle(str(refusal), 1)
            continue
        for kernel in (*line.kernels, *line.also):
            workload.add(kernel.names, kernel.dtype, 1, 0.0, path.name)
    for _ in file.errors:
        workload.puzzle("malformed line", 1)
