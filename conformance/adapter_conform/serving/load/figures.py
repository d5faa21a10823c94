"""From what the clients saw to figures with confidence intervals. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.serving.load.client import Seen

__all__ = ["Figure", "Trial", "bootstrap", "summarise"]

_RESAMPLES = 2000
_CONFIDENCE = 0.95

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A statistic with its bootstrap interval (percentile method: Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13) at 95%, and the number of samples that it rests on."""

    value: float
    low: float
    high: float
    samples: int

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "samples": self.samples}


def bootstrap(values: Sequence[float], statistic: Callable[..., Any], seed: int = 0) -> Figure | None:
    """``statistic(values, axis=-1)`` with its interval; None where there are no values."""
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        return None
    random = np.random.RandomState(seed)
    drawn = array[random.randint(0, array.size, (_RESAMPLES, array.size))]
    low, high = np.quantile(statistic(drawn, axis=-1), [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Figure(float(statistic(array, axis=-1)), float(low), float(high), array.size)


def _p99(values: Values, axis: int) -> Any:
    return np.quantile(values, 0.99, axis=axis)


@dataclass(frozen=True)
class Trial:
    """One rate."""

    rate: float
    """Requests a second that were sent."""
    sent: int
    answered: int
    errors: dict[str, int]
    """Error -> how many requests."""
    seconds: float
    """From the first request to the last token."""
    qps: float
    """Answers a second over that time."""
    tokens_per_second: float
    first_mean: Figure | None
    """Seconds to the first token."""
    first_p99: Figure | None
    per_token: Figure | None
    """Seconds between two tokens."""
    limit: float
    """Seconds that the first token may take."""

    @property
    def borne(self) -> bool:
        """Whether every request was answered, and p99 and mean of the time to the first token are within the limit."""
        if self.answered < self.sent or self.first_mean is None or self.first_p99 is None:
            return False
        return max(self.first_mean.value, self.first_p99.value) <= self.limit

    def to_json(self) -> dict[str, Any]:
        data = {key: v.to_json() if isinstance(v, Figure) else v for key, v in vars(self).items()}
        return {**data, "borne": self.borne}


def summarise(seen: Sequence[Seen], rate: float, limit: float) -> Trial:
    answered = [one for one in seen if one.ok]
    errors: dict[str, int] = {}
    for one in seen:
        if not one.ok:
            key = f"{one.status}: {one.error[:120]}" if one.status else one.error[:120]
            errors[key] = errors.get(key, 0) + 1
    begin = min((one.begun for one in seen), default=0.0)
    seconds = max((one.ended for one in answered), default=begin) - begin
    firsts = [one.first for one in answered]
    between = [one.per_token for one in answered if one.per_token is not None]
    tokens = sum(len(one.tokens) for one in answered)
    return Trial(
        rate=rate,
        sent=len(seen),
        answered=len(answered),
        errors=errors,
        seconds=seconds,
        qps=len(answered) / seconds if seconds else 0.0,
        tokens_per_second=tokens / seconds if seconds else 0.0,
        first_mean=bootstrap(firsts, np.mean),
        first_p99=bootstrap(firsts, _p99),
        per_token=bootstrap(between, np.mean),
        limit=limit,
    )
