"""What a trace holds, and the file it lies in: JSON lines that ``--replay`` and ``plan`` read too.

The first line is the header, ``{"format": "adapter-trace", "version": 1, ...}``; each further one is either a kernel
(``{"kernel": ..., "dtype": ..., ...}``, see :class:`KernelUse`) or an API call with its number
(``{"call": "paddle.matmul(...)", "calls": 3}``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.jsondata import compact

__all__ = ["FORMAT", "KernelUse", "Trace", "is_trace", "read_trace", "write_trace"]

FORMAT = "adapter-trace"
VERSION = 1


@dataclass(frozen=True)
class KernelUse:
    """One kind of kernel call: everything but how often and how long."""

    operator: str
    dtype: str
    phase: str
    """``"forward"``, ``"backward"`` or ``"optimizer"``."""
    mode: str
    """``"eager"`` or ``"static"``."""
    backend: str
    """Which device type ran it, e.g. ``"refchip"`` or ``"cpu"``."""
    wanted: str
    """Which one the program asked for."""
    shapes: tuple[tuple[int, ...], ...] = ()
    """Of its input tensors, in order; empty where Paddle does not tell."""
    attributes: tuple[str, ...] = ()
    """``"name:value"`` where Paddle tells values (static programs), else the attributes' types in order."""

    @property
    def fell_back(self) -> bool:
        return self.backend != self.wanted


@dataclass
class Amount:
    """How often, and how long: host seconds of the calls that could be timed."""

    calls: int = 0
    seconds: float = 0.0
    timed: int = 0


@dataclass
class Trace:
    """A program's kernels and API calls."""

    header: dict[str, Any] = field(default_factory=dict)
    kernels: dict[KernelUse, Amount] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    def count(self, use: KernelUse, seconds: float | None) -> None:
        amount = self.kernels.setdefault(use, Amount())
        amount.calls += 1
        if seconds is not None:
            amount.seconds += seconds
            amount.timed += 1

    def count_many(self, use: KernelUse, calls: int, seconds: float) -> None:
        """``calls`` calls that took ``seconds`` together."""
        amount = self.kernels.setdefault(use, Amount())
        amount.calls += calls
        amount.seconds += seconds
        amount.timed += calls


def is_trace(first_line: str) -> bool:
    """Whether a file that starts so is a trace."""
    return first_line.lstrip().startswith("{") and FORMAT in first_line


def write_trace(path: Path, trace: Trace) -> None:
    """Raises :class:`ConformError` when the file cannot be written."""
    header = {"format": FORMAT, "version": VERSION, **trace.header}
    rows: list[dict[str, Any]] = []
    for use, amount in sorted(trace.kernels.items(), key=lambda item: (-item[1].calls, item[0].operator)):
        rows.append(
            {
                "kernel": use.operator,
                "dtype": use.dtype,
                "phase": use.phase,
                "mode": use.mode,
                "backend": use.backend,
                "wanted": use.wanted,
                "shapes": use.shapes,
                "attributes": use.attributes,
                "calls": amount.calls,
                "seconds": round(amount.seconds, 9),
                "timed": amount.timed,
            }
        )
    rows += [{"call": text, "calls": calls} for text, calls in sorted(trace.calls.items())]
    try:
        path.write_text("".join(compact(row) + "\n" for row in [header, *rows]), encoding="utf-8")
    except OSError as error:
        raise ConformError(f"cannot write the trace {path}: {error.strerror or error}. Give another --out.") from error


def read_trace(path: Path) -> Trace:
    """Raises :class:`UsageProblem`: the file cannot be read, or is no trace of this version."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"trace {path} cannot be read: {error}") from error
    if not lines or not is_trace(lines[0]):
        raise UsageProblem(
            f"{path} is no trace: its first line does not say {FORMAT!r}. Make one with "
            "`adapter-conform trace --out FILE -- python program.py`."
        )
    trace = Trace()
    for number, line in enumerate(lines, start=1):
        try:
            _take(trace, json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageProblem(
                f"{path}:{number}: no line of a trace ({type(error).__name__}: {error}). "
                "Was the file cut off? Record it again."
            ) from error
    if trace.header["version"] != VERSION:
        raise UsageProblem(
            f"{path} has version {trace.header['version']} of the trace format; this is version {VERSION}."
        )
    return trace


def _take(trace: Trace, row: Mapping[str, Any]) -> None:
    if "format" in row:
        trace.header = {"version": row["version"], **{key: row[key] for key in row if key not in ("format", "version")}}
    elif "call" in row:
        trace.calls[row["call"]] = int(row["calls"])
    else:
        operator, dtype, phase, mode, backend, wanted = (
            str(row[name]) for name in ("kernel", "dtype", "phase", "mode", "backend", "wanted")
        )
        shapes = tuple(tuple(int(side) for side in shape) for shape in row["shapes"])
        attributes = tuple(str(item) for item in row["attributes"])
        use = KernelUse(operator, dtype, phase, mode, backend, wanted, shapes, attributes)
        trace.kernels[use] = Amount(int(row["calls"]), float(row["seconds"]), int(row["timed"]))
