"""Figures of the error chart: for each operator how its errors lie against their limits, on a logarithmic axis."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from adapter_conform.cases import GateFigure, Record

__all__ = ["Chart", "ChartRow", "error_chart", "error_ratio"]

_LOWEST, _HIGHEST = -8, 6
"""Decades that the axis shows at most; what lies outside is drawn at its ends."""


@dataclass(frozen=True)
class ChartRow:
    """One operator. Ratios are error / limit; positions are percent of the axis."""

    operator: str
    count: int
    worst: float
    worst_id: str
    worst_gate: str
    low_at: float
    median_at: float
    worst_at: float


@dataclass(frozen=True)
class Chart:
    rows: list[ChartRow]
    ticks: list[tuple[float, str]]
    """Position in percent, and label."""
    limit_at: float
    """Where the ratio is 1."""


def error_ratio(figure: GateFigure) -> float:
    """error / limit: 0 where nothing is wrong, infinite where a limit of 0 is broken or the error is not a number."""
    if math.isnan(figure.value) or math.isnan(figure.limit):
        return math.inf
    if figure.limit <= 0:
        return 0.0 if figure.value <= figure.limit else math.inf
    return max(figure.value, 0.0) / figure.limit


def error_chart(records: Iterable[Record]) -> Chart:
    """The chart of all records that carry gate figures, worst operator first."""
    ratios: dict[str, list[tuple[float, str, str]]] = defaultdict(list)
    for record in records:
        for figure in record.errors:
            ratios[record.operator].append((error_ratio(figure), record.id, f"{figure.gate} on {figure.output}"))
    low, high = _decades([ratio for found in ratios.values() for ratio, _, _ in found])

    def at(ratio: float) -> float:
        if ratio <= 0:
            return 0.0
        place = high if math.isinf(ratio) else min(max(math.log10(ratio), low), high)
        return round(100 * (place - low) / (high - low), 2)

    rows = []
    for operator, found in ratios.items():
        worst, worst_id, gate = max(found)
        values = sorted(ratio for ratio, _, _ in found)
        middle = at(median(values) if math.isfinite(values[-1]) else values[len(values) // 2])
        rows.append(ChartRow(operator, len(found), worst, worst_id, gate, at(values[0]), middle, at(worst)))
    rows.sort(key=lambda row: (-row.worst, row.operator))
    step = max(1, math.ceil((high - low) / 6))
    ticks = [(at(10.0**decade), f"1e{decade}" if decade else "1") for decade in range(low, high + 1, step)]
    return Chart(rows, ticks, at(1.0))


def _decades(ratios: Iterable[float]) -> tuple[int, int]:
    logs = [math.log10(ratio) for ratio in ratios if 0 < ratio < math.inf]
    low = math.floor(min(logs, default=-3))
    high = math.ceil(max(logs, default=0))
    return max(min(low, -3), _LOWEST), min(max(high, 1), _HIGHEST)
