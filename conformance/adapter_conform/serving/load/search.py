"""The highest rate that a server bears."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from adapter_conform.serving.load.figures import Trial

__all__ = ["Found", "highest_rate"]

Try = Callable[[float], Awaitable[Trial]]


@dataclass(frozen=True)
class Found:
    best: Trial | None
    """The fastest that was borne; None where none was."""
    trials: tuple[Trial, ...]
    """In the order in which they were made."""


async def highest_rate(attempt: Try, start: float, most: int = 10, close: float = 0.05) -> Found:
    """Searches from ``start`` requests a second: doubling while the rate is borne, halving while it is not, then
    between the two, geometrically, until they are ``close`` to one another. At most ``most`` trials."""
    trials: list[Trial] = []
    low, high, rate = 0.0, math.inf, start
    best: Trial | None = None
    while len(trials) < most and high > low * (1 + close):
        trial = await attempt(rate)
        trials.append(trial)
        if trial.borne:
            low, best = rate, trial
        else:
            high = rate
        if math.isinf(high):
            rate = low * 2
        elif low == 0:
            rate = high / 2
        else:
            rate = math.sqrt(low * high)
    return Found(best, tuple(trials))
