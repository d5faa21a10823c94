"""Whether a resource creeps upward: the slope over the run, robust against outliers, and its significance.

The slope is Theil and Sen's, the median of the slopes of all pairs; its significance is Mann and Kendall's test of the
signs of all pairs (Gilbert, Statistical Methods for Environmental Pollution Monitoring, 1987, chapters 16 and 17). Both
look at medians of at most 200 stretches of equal length, so that a fortnight costs no more than an hour, after the
first tenth of the run, in which caches fill.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIMITS", "Drift", "Limit", "judge"]

_WARM_UP = 0.1
_STRETCHES = 200
_FEWEST = 20
"""Beats below which nothing is said."""
_SIGNIFICANT = 6.0
"""Standard deviations; 2e-9 for independent beats, and beats are not quite that."""


@dataclass(frozen=True)
class Limit:
    """How much a resource may grow over the whole run, by the slope: the larger of the two."""

    share: float
    """Of the median."""
    amount: float


LIMITS = {
    "device_bytes": Limit(0.01, float(1 << 20)),
    "host_bytes": Limit(0.05, float(64 << 20)),
    "handles": Limit(0.0, 4.0),
    "step_s": Limit(0.10, 0.0),
}
"""By the name of the field of a heartbeat."""


@dataclass(frozen=True)
class Drift:
    resource: str
    slope: float
    """Per second."""
    growth: float
    """Slope times the time that was looked at."""
    limit: float
    z: float
    """Of Mann and Kendall's test; above 0 where the resource grows."""
    beats: int
    """That were looked at."""

    @property
    def passed(self) -> bool:
        return not (self.growth > self.limit and self.z > _SIGNIFICANT)

    @property
    def judged(self) -> bool:
        return self.beats >= _FEWEST


def judge(resource: str, seconds: Sequence[float], values: Sequence[float]) -> Drift:
    """The drift of one resource; ``seconds`` ascend. Fewer than 20 beats give a drift of 0 that is not judged."""
    times, levels = np.asarray(seconds, np.float64), np.asarray(values, np.float64)
    late = times >= times[0] + _WARM_UP * (times[-1] - times[0]) if len(times) else times > 0
    times, levels = times[late], levels[late]
    limit = LIMITS[resource]
    if len(times) < _FEWEST:
        return Drift(resource, 0.0, 0.0, 0.0, 0.0, len(times))
    allowed = max(limit.share * abs(float(np.median(levels))), limit.amount)
    x, y = _stretches(times, levels)
    first, second = np.triu_indices(len(x), k=1)
    rise, run = y[second] - y[first], x[second] - x[first]
    slope = float(np.median(rise[run > 0] / run[run > 0])) if (run > 0).any() else 0.0
    growth = slope * float(x[-1] - x[0])
    return Drift(resource, slope, growth, allowed, _kendall(rise, len(x), y), len(times))


def _stretches(times: NDArray[np.float64], levels: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    if len(times) <= _STRETCHES:
        return times, levels
    parts = np.array_split(np.arange(len(times)), _STRETCHES)
    return tuple(np.array([np.median(array[part]) for part in parts]) for array in (times, levels))


def _kendall(rise: NDArray[np.float64], count: int, levels: NDArray[np.float64]) -> float:
    """The test's normal score, ties accounted for."""
    score = float(np.sign(rise).sum())
    ties = np.unique(levels, return_counts=True)[1]
    variance = (count * (count - 1) * (2 * count + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    return 0.0 if variance <= 0 or score == 0 else (score - math.copysign(1, score)) / math.sqrt(variance)
