"""Figures of the error chart: for each operator how its errors lie against their limits, on a logarithmic axis.

The distribution is that of the figures that measure an error against a limit above 0; what must be exact has none, and
counts in the worst alone.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adapter_conform.cases import GateFigure, Record

__all__ = ["Bar", "Chart", "ChartRow", "error_chart", "error_ratio"]

_LOWEST, _HIGHEST = -8, 6
"""Decades that the axis shows at most; what lies outside is drawn at its ends."""


_BARS_A_DECADE = 2


@dataclass(frozen=True)
class Bar:
    """The share of an operator's figures that lie in a part of the axis: position, width and height in percent."""

    at: float
    width: float
    height: float
    count: int


@dataclass(frozen=True)
class ChartRow:
    """One operator. Ratios are error / limit; positions are percent of the axis."""

    operator: str
    count: int
    worst: float
    worst_id: str
    worst_gate: str
    low_at: float
    quarter_at: float
    median_at: float
    three_quarters_at: float
    worst_at: float
    bars: list[Bar]


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
    measured: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for figure in record.errors:
            ratios[record.operator].append((error_ratio(figure), record.id, f"{figure.gate} on {figure.output}"))
            if 0 < figure.limit < math.inf:  # those for information have no limit
                measured[record.operator].append(error_ratio(figure))
    low, high = _decades([ratio for found in ratios.values() for ratio, _, _ in found])

    def at(ratio: float) -> float:
        if ratio <= 0:
            return 0.0
        place = high if math.isinf(ratio) else min(max(math.log10(ratio), low), high)
        return round(100 * (place - low) / (high - low), 2)

    rows = []
    for operator, found in ratios.items():
        worst, worst_id, gate = max(found)
        values = sorted(measured[operator]) or [worst]
        least, quarter, middle, most = (at(_quantile(values, part)) for part in (0.0, 0.25, 0.5, 0.75))
        bars = _bars(values, low, high)
        rows.append(
            ChartRow(operator, len(values), worst, worst_id, gate, least, quarter, middle, most, at(worst), bars)
        )
    rows.sort(key=lambda row: (-row.worst, row.operator))
    step = max(1, math.ceil((high - low) / 6))
    ticks = [(at(10.0**decade), f"1e{decade}" if decade else "1") for decade in range(low, high + 1, step)]
    return Chart(rows, ticks, at(1.0))


def _quantile(values: Sequence[float], part: float) -> float:
    """Of sorted values, the nearest one: infinities cannot be averaged."""
    return values[min(len(values) - 1, round(part * (len(values) - 1)))]


def _bars(values: Sequence[float], low: int, high: int) -> list[Bar]:
    """How many values lie in each part of the axis; what is off its ends counts in the outermost parts."""
    parts = (high - low) * _BARS_A_DECADE
    found: Counter[int] = Counter()
    for value in values:
        place = low if value <= 0 else high if math.isinf(value) else math.log10(value)
        found[min(max(math.floor((place - low) * _BARS_A_DECADE), 0), parts - 1)] += 1
    most, width = max(found.values()), 100 / parts
    return [
        Bar(round(part * width, 2), round(width, 2), round(100 * count / most, 1), count)
        for part, count in sorted(found.items())
    ]


def _decades(ratios: Iterable[float]) -> tuple[int, int]:
    logs = [math.log10(ratio) for ratio in ratios if 0 < ratio < math.inf]
    low = math.floor(min(logs, default=-3))
    high = math.ceil(max(logs, default=0))
    return max(min(low, -3), _LOWEST), min(max(high, 1), _HIGHEST)
