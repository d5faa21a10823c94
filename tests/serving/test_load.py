"""The load on a server: what arrives, what is made of it, and the search."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest
from adapter_conform.serving.load.client import Seen
from adapter_conform.serving.load.equality import Equality, same_tokens
from adapter_conform.serving.load.figures import Trial, bootstrap, summarise
from adapter_conform.serving.load.page import page
from adapter_conform.serving.load.search import highest_rate
from adapter_conform.serving.load.workload import Arrival, Lengths, Workload


@pytest.mark.parametrize(("text", "least", "most"), [("32", 32, 32), ("8-64", 8, 64), ("exp:10:40", 1, 40)])
def test_lengths(text: str, least: int, most: int) -> None:
    drawn = Lengths.parse(text).draw(np.random.RandomState(0), 4000)
    assert (min(drawn), max(drawn)) == (least, most)


@pytest.mark.parametrize("text", ["", "a", "9-8", "0", "exp:3", "exp:0:5", "1-2-3"])
def test_lengths_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="lengths"):
        Lengths.parse(text)


def test_arrivals_are_poisson_and_repeat() -> None:
    workload = Workload(Lengths.parse("1-9"), Lengths.parse("4"), 100, seed=5, shared=3)
    arrivals = workload.arrivals(20.0, 4000)
    assert arrivals == workload.arrivals(20.0, 4000)
    assert arrivals != workload.arrivals(20.0, 4000, part=1)
    gaps = np.diff([0.0, *(a.at for a in arrivals)])
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.06)
    assert gaps.std() == pytest.approx(1 / 20, rel=0.1)  # that of an exponential is its mean
    assert len({a.prompt[:3] for a in arrivals}) == 1
    assert all(3 <= t < 100 for a in arrivals for t in a.prompt)
    assert {a.at for a in workload.arrivals(math.inf, 5)} == {0.0}


def seen(first: float, tokens: int = 3, begun: float = 0.0, error: str = "") -> Seen:
    one = Seen(Arrival(begun, (5,), tokens), 429 if error else 200, error, begun=begun)
    if not error:
        one.tokens, one.times = list(range(tokens)), [first + 0.1 * i for i in range(tokens)]
    return one


def test_figures() -> None:
    trial = summarise([seen(0.2, begun=float(i)) for i in range(10)], 1.0, 1.0)
    assert trial.borne
    assert trial.seconds == pytest.approx(9.4)
    assert trial.qps == pytest.approx(10 / 9.4)
    assert trial.first_mean is not None
    assert trial.per_token is not None
    assert trial.first_mean.samples == 10
    assert trial.per_token.value == pytest.approx(0.1)
    slow = summarise([*(seen(0.2) for _ in range(20)), seen(5.0)], 1.0, 1.0)
    assert not slow.borne
    refused = summarise([seen(0.2), seen(0.0, error="no place")], 1.0, 1.0)
    assert not refused.borne
    assert refused.errors == {"429: no place": 1}


@pytest.mark.parametrize("answered", [True, False])
def test_a_page_of_any_result(answered: bool) -> None:
    trial = summarise([seen(0.2, error="" if answered else "<b>no</b>")], 2.0, 1.0)
    result = {"trials": [trial.to_json()], "best": trial.to_json() if answered else None, "equality": None}
    text = page({**result, "qps_per_tflops": None})
    assert text.count("<circle") == answered
    assert ("No rate was borne" in text) is not answered


def test_bootstrap_covers_the_truth() -> None:
    inside = 0
    for seed in range(100):
        figure = bootstrap(np.random.RandomState(seed).exponential(1.0, 80).tolist(), np.mean)
        assert figure is not None
        inside += figure.low <= 1.0 <= figure.high
    assert 85 <= inside <= 100
    assert bootstrap([], np.mean) is None


@pytest.mark.parametrize(("truth", "start"), [(37.0, 1.0), (37.0, 500.0), (3.0, 3.0)])
def test_search(truth: float, start: float) -> None:
    template = summarise([seen(0.1)], 1.0, 1.0)

    async def attempt(rate: float) -> Trial:
        return replace(template, rate=rate, answered=1 if rate <= truth else 0)

    found = asyncio.run(highest_rate(attempt, start, most=20))
    assert found.best is not None
    assert truth / 1.05 <= found.best.rate <= truth


def test_nothing_is_borne() -> None:
    template = replace(summarise([seen(0.1)], 1.0, 1.0), answered=0)

    async def attempt(rate: float) -> Trial:
        return replace(template, rate=rate)

    found = asyncio.run(highest_rate(attempt, 8.0, most=4))
    assert found.best is None
    assert [trial.rate for trial in found.trials] == [8.0, 4.0, 2.0, 1.0]


def test_equal_tokens() -> None:
    alone = replace(seen(0.1), margins=[1.0, 1e-7, 1.0])
    for tokens, ties, holds in (([0, 1, 2], 0, True), ([0, 7, 8], 1, False), ([7, 1, 2], 0, False)):
        found = Equality()
        same_tokens(found, replace(seen(0.1), tokens=tokens), alone, 1e-5)
        assert (found.ties, found.holds) == (ties, holds)
    assert not Equality().holds, "nothing was compared"
