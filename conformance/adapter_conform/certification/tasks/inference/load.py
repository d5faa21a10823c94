"""How many requests a second the serving engine bears while the first token comes within the standard's limit.

The engine alone, in this process; with HTTP and a client of its own it is `adapter-conform bench-serve`.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adapter_conform.certification.recipes.corpora import Tokens
from adapter_conform.serving.engine import Engine
from adapter_conform.serving.requests import Request

__all__ = ["Trial", "bear", "offer"]

_FIRST_TOKEN = 1.0
"""Seconds: the standard's limit on the time to the first token."""


@dataclass(frozen=True)
class Trial:
    """Requests that were due at random times, as a Poisson process has them."""

    offered_qps: float
    qps: float
    """Answered, over the time until the last answer."""
    requests: int
    first_token_mean: float
    """Seconds since a request was due."""
    first_token_p99: float
    tokens_per_second: float

    @property
    def within(self) -> bool:
        return self.first_token_p99 <= _FIRST_TOKEN and self.first_token_mean <= _FIRST_TOKEN


def offer(engine: Engine, prompts: Tokens, answer: int, rate: float, seconds: float, seed: int) -> Trial:
    """Requests at ``rate`` a second for ``seconds``, each of ``answer`` tokens."""
    draw = np.random.RandomState(seed)
    count = max(2, int(rate * seconds))
    due = np.cumsum(draw.exponential(1.0 / rate, count))
    engine.forget()
    start, submitted, ended, tokens = time.perf_counter(), 0, 0, 0
    first: dict[str, float] = {}
    while ended < count:
        now = time.perf_counter() - start
        while submitted < count and due[submitted] <= now and len(engine.scheduler.waiting) < _most(engine):
            prompt = tuple(int(token) for token in prompts[submitted % len(prompts)])
            engine.submit(Request(str(submitted), prompt, answer))
            submitted += 1
        if engine.idle:
            time.sleep(max(0.0, min(0.01, due[submitted] - now)))
            continue
        for output in engine.step():
            tokens += 1
            first.setdefault(output.id, time.perf_counter() - start - due[int(output.id)])
            ended += output.finish is not None
    spent = time.perf_counter() - start
    waits = np.array(list(first.values()))
    return Trial(rate, count / spent, count, float(waits.mean()), float(np.quantile(waits, 0.99)), tokens / spent)


def _most(engine: Engine) -> int:
    return int(engine.settings.limits.most_waiting)


def bear(engine: Engine, prompts: Tokens, answer: int, seconds: float, seed: int = 0) -> dict[str, Any]:
    """The best of trials whose rate doubles until the limit is passed; the highest rate alone tells nothing of a device
    that is slower at half of it."""
    rate, best = 4.0, None
    while True:
        trial = offer(engine, prompts, answer, rate, seconds, seed)
        if not trial.within:
            break
        best, rate = trial, 2 * rate
    best = best or trial
    return {**asdict(best), "within": best.within, "first_token_limit": _FIRST_TOKEN}
