"""The profile of a trace: a table by operator, with what fell back in plain sight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from adapter_conform.tracing.record import Trace

__all__ = ["Row", "profile_rows", "profile_table"]


@dataclass
class Row:
    """Calls of one kernel (operator and dtype) in one phase on one backend."""

    operator: str
    dtype: str
    phase: str
    mode: str
    backend: str
    wanted: str
    calls: int = 0
    seconds: float = 0.0
    timed: int = 0

    @property
    def fell_back(self) -> bool:
        return self.backend != self.wanted


def profile_rows(trace: Trace) -> list[Row]:
    """Rows of a trace, what fell back first, then by time."""
    rows: dict[tuple[str, ...], Row] = {}
    for use, amount in trace.kernels.items():
        key = (use.operator, use.dtype, use.phase, use.mode, use.backend, use.wanted)
        row = rows.setdefault(key, Row(*key))
        row.calls += amount.calls
        row.seconds += amount.seconds
        row.timed += amount.timed
    return sorted(rows.values(), key=lambda row: (not row.fell_back, -row.seconds, -row.calls, row.operator))


def profile_table(rows: Sequence[Row], most: int) -> Table:
    """The first ``most`` rows, besides all that fell back."""
    table = Table(title="kernels", title_justify="left", show_edge=False)
    for name in ("operator", "dtype", "phase", "mode", "ran on"):
        table.add_column(name, overflow="fold")
    table.add_column("calls", justify="right")
    table.add_column("ms", justify="right")
    for index, row in enumerate(rows):
        if index >= most and not row.fell_back:
            continue
        where = Text(f"{row.backend} (wanted {row.wanted})", "bold red") if row.fell_back else Text(row.backend)
        time = f"{1e3 * row.seconds:.3f}" if row.timed else "?"
        table.add_row(row.operator, row.dtype, row.phase, row.mode, where, str(row.calls), time)
    return table


def fallbacks(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.fell_back]
