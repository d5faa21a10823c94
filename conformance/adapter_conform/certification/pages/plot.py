"""Lines in a box: points in percent of it, and round numbers at its edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Line", "Plot", "plot"]

_TICKS = 4
_MOST_POINTS = 500


@dataclass(frozen=True)
class Line:
    kind: str
    """Class in the style sheet: reference, device, limit."""
    pieces: list[str]
    """``"x,y x,y"``; figures that are not finite part them."""


@dataclass(frozen=True)
class Plot:
    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def plot(title: str, x: Sequence[float], curves: Sequence[tuple[str, Sequence[float]]]) -> Plot:
    """``curves``: kind and a figure for each of ``x``; shorter ones end earlier."""
    finite = [value for _, values in curves for value in values if math.isfinite(value)]
    low, high, y_labels = _axis(min(finite, default=0.0), max(finite, default=1.0))
    left, right = (float(x[0]), float(x[-1])) if len(x) > 1 else (0.0, 1.0)
    _, _, x_labels = _axis(left, right)

    def across(value: float) -> float:
        return round(100 * (value - left) / (right - left), 2)

    places = [across(value) for value in x]
    lines = [Line(kind, _pieces(places, values, low, high)) for kind, values in curves]
    inside = [value for value in x_labels if left <= value <= right]
    return Plot(
        title,
        lines,
        [(across(value), f"{value:g}") for value in inside],
        [(round(100 * (high - value) / (high - low), 2), f"{value:.3g}") for value in y_labels],
    )


def _pieces(places: Sequence[float], values: Sequence[float], low: float, high: float) -> list[str]:
    step = max(1, math.ceil(len(values) / _MOST_POINTS))
    pieces: list[list[str]] = [[]]
    for index in range(0, len(values), step):
        if math.isfinite(values[index]):
            pieces[-1].append(f"{places[index]},{100 * (high - values[index]) / (high - low):.2f}")
        elif pieces[-1]:
            pieces.append([])
    return [" ".join(piece) for piece in pieces if piece]


def _axis(least: float, most: float) -> tuple[float, float, list[float]]:
    """Ends and round numbers between them."""
    span = max(most - least, 1e-12 * max(abs(most), abs(least)), 1e-300)
    power = 10.0 ** math.floor(math.log10(span / _TICKS))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= span / _TICKS * 0.999)
    first, last = math.floor(least / step), math.ceil(most / step)
    last = max(last, first + 1)
    return first * step, last * step, [number * step for number in range(first, last + 1)]
