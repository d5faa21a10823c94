"""Means over windows of steps, their distance from the reference's, and the limit that the reference's spread gives.

The limit of a window is ``max(floor, FACTOR * largest error of a reference run up to there)``, both errors against the
reference's base run. FACTOR: repeats of the reference change one thing (the attention kernel, the number of threads),
a device changes every kernel; measured on healthy ones over seven architectures, the device's errors are up to 5 times
those of repeats, so 10 leaves a factor of two. "Up to there": differences of rounding grow while a model learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FACTOR", "Floors", "WindowErrors", "window_errors", "window_means"]

Floats = NDArray[np.float64]

FACTOR = 10.0
_NEAR_ZERO = 0.05
"""Of the first window: where the reference's mean is smaller, a relative error says nothing and only the absolute one
is judged."""


@dataclass(frozen=True)
class Floors:
    """Smallest limit of a relative error, by precision."""

    float32: float
    bfloat16: float

    def of(self, precision: str) -> float:
        """Raises KeyError for a precision without a floor."""
        return {"float32": self.float32, "bfloat16": self.bfloat16}[precision]


@dataclass(frozen=True)
class WindowErrors:
    """One entry a window. ``signed`` is device minus reference; ``absolute`` has no sign."""

    reference: Floats
    device: Floats
    signed: Floats
    absolute: Floats
    absolute_limit: Floats
    relative: Floats
    """NaN where the reference is too near to zero."""
    relative_limit: Floats
    spread: Floats
    """Signed absolute errors of the reference runs: [runs, windows]."""
    size: int
    """Steps of a window."""

    def worst(self, relative: bool) -> tuple[int, float, float]:
        """Window, error and limit where error / limit is largest; (-1, 0, 0) where there is nothing to judge."""
        error, limit = (self.relative, self.relative_limit) if relative else (self.absolute, self.absolute_limit)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(error == 0, 0.0, error / limit)
        if relative:
            ratio = np.where(np.isnan(self.relative) & np.isfinite(self.device), -1.0, ratio)
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
        if not ratio.size or ratio.max() < 0:
            return -1, 0.0, 0.0
        place = int(np.argmax(ratio))
        value = float(error[place]) if np.isfinite(error[place]) else float("inf")
        return place, value, float(limit[place])

    def words(self, window: int) -> str:
        return f"steps {window * self.size}-{window * self.size + self.size - 1}"


def window_means(values: Sequence[float], size: int) -> Floats:
    """Means of ``size`` values each; an incomplete last window is left out."""
    whole = len(values) // size * size
    means: Floats = np.asarray(values[:whole], dtype=np.float64).reshape(-1, size).mean(axis=1)
    return means


def window_errors(
    device: Sequence[float],
    reference: Sequence[float],
    repeats: Sequence[Sequence[float]],
    size: int,
    floor: float,
    scale: float | None = None,
) -> WindowErrors:
    """Compares as many windows as both have.

    Args:
        floor: smallest limit of the relative error; times ``scale`` it is that of the absolute one.
        scale: defaults to the reference's mean in the first window.
    """
    one, other = window_means(device, size), window_means(reference, size)
    count = min(len(one), len(other))
    one, other = one[:count], other[:count]
    first = abs(float(other[0])) if count else 0.0
    scale = first if scale is None else scale
    spread = _spread(other, repeats, size)
    signed = one - other
    usable = np.abs(other) > _NEAR_ZERO * first
    denominators = np.where(usable, np.abs(other), np.nan)
    return WindowErrors(
        reference=other,
        device=one,
        signed=signed,
        absolute=np.abs(signed),
        absolute_limit=_limit(spread, floor * scale),
        relative=np.abs(signed) / denominators,
        relative_limit=_limit(spread / np.where(usable, np.abs(other), np.inf), floor),
        spread=spread,
        size=size,
    )


def _spread(base: Floats, repeats: Sequence[Sequence[float]], size: int) -> Floats:
    rows = [window_means(repeat, size)[: len(base)] - base for repeat in repeats if len(repeat) // size >= len(base)]
    return np.stack(rows) if rows else np.zeros((0, len(base)))


def _limit(spread: Floats, floor: float) -> Floats:
    if not len(spread):
        return np.full(spread.shape[1], floor)
    largest = np.maximum.accumulate(np.nan_to_num(np.abs(spread), nan=0.0, posinf=0.0).max(axis=0))
    limits: Floats = np.maximum(floor, FACTOR * largest)
    return limits
