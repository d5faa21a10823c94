"""The whole measurement: capacity, search, confirmation, comparison with answers alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from adapter_conform.errors import ConformError
from adapter_conform.serving.load.client import Seen, run_trial
from adapter_conform.serving.load.equality import Equality, compare_alone
from adapter_conform.serving.load.figures import Trial, summarise
from adapter_conform.serving.load.search import Found, highest_rate
from adapter_conform.serving.load.workload import Workload

__all__ = ["Bench", "Measured", "vocabulary_of"]

_AT_ONCE = 32
"""Requests of the trial that estimates the capacity."""


@dataclass(frozen=True)
class Measured:
    capacity: Trial
    """All requests at once."""
    found: Found
    equality: Equality | None

    def to_json(self) -> dict[str, Any]:
        best = self.found.best
        return {
            "capacity": self.capacity.to_json(),
            "trials": [trial.to_json() for trial in self.found.trials],
            "best": None if best is None else best.to_json(),
            "equality": None if self.equality is None else self.equality.to_json(),
        }


@dataclass
class Bench:
    """``tell`` gets a line for each trial."""

    url: str
    workload: Workload
    seconds: float
    """Of a trial. A rate that is too high by a share of ``limit / seconds`` shows within it."""
    limit: float = 1.0
    """Seconds that the first token may take, mean and p99."""
    most_trials: int = 10
    rate: float | None = None
    """Requests a second to begin with; None: three quarters of the capacity."""
    verify: int = 24
    """Requests of the best trial that are asked for again, alone."""
    tie: float = 1e-5
    patience: float = 120.0
    least_requests: int = 40
    tell: Callable[[str], None] = lambda _line: None

    async def measure(self) -> Measured:
        """Raises ConformError where the server does not answer."""
        self._seen: dict[float, list[Seen]] = {}
        capacity = summarise(await self._send(math.inf, _AT_ONCE, 0), math.inf, self.limit)
        if not capacity.answered:
            raise ConformError(f"{self.url} answered none of {_AT_ONCE} requests: {capacity.errors}")
        self.tell(f"{capacity.qps:.1f} requests/s, {capacity.tokens_per_second:.0f} tokens/s with {_AT_ONCE} at once")
        found = await highest_rate(self._attempt, self.rate or 0.75 * capacity.qps, self.most_trials)
        equality = None
        if found.best is not None and self.verify:
            loaded = [one for one in self._seen[found.best.rate] if one.ok]
            step = max(1, len(loaded) // self.verify)
            equality = await compare_alone(self.url, loaded[::step][: self.verify], self.tie, self.patience)
        return Measured(capacity, found, equality)

    async def _attempt(self, rate: float) -> Trial:
        count = max(self.least_requests, math.ceil(rate * self.seconds))
        seen = await self._send(rate, count, 1)
        self._seen[rate] = seen
        trial = summarise(seen, rate, self.limit)
        words = "borne" if trial.borne else "too much"
        p99 = "-" if trial.first_p99 is None else f"{trial.first_p99.value:.3f} s"
        missing = "" if trial.answered == trial.sent else f", {trial.sent - trial.answered} not answered"
        self.tell(f"{rate:8.2f} requests/s, {count} sent: p99 of the first token {p99}{missing}: {words}")
        return trial

    async def _send(self, rate: float, count: int, part: int) -> list[Seen]:
        return await run_trial(self.url, self.workload.arrivals(rate, count, part), self.patience)


async def vocabulary_of(url: str) -> tuple[str, int, int]:
    """Name, vocabulary and positions of the model at ``url``.

    Raises:
        ConformError: no such server answers there.
    """
    try:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/v1/models") as response:
            model = (await response.json())["data"][0]
            return str(model["id"]), int(model["vocabulary"]), int(model["max_model_len"])
    except (aiohttp.ClientError, TimeoutError, KeyError, IndexError, ValueError) as error:
        raise ConformError(
            f"{url} is no server of `adapter-conform serve`: {type(error).__name__}: {error}\n"
            "Start one, or leave --url out to have one started."
        ) from error
