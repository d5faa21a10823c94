"""What has to hold of every engine, whatever the load: the checks that inference certification rests on.

Each runs a few requests on fresh engines and lists what is wrong. A check that could not have failed (nothing came out
of the cache, no block was ever wanted twice) says so as a fault: it proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from adapter_conform.models.weights import Weights
from adapter_conform.serving.engine import Engine, EngineSettings
from adapter_conform.serving.oracle import oracle_logits
from adapter_conform.serving.requests import Output, Request
from adapter_conform.serving.scheduler import Limits
from adapter_conform.serving.shape import DecoderShape

__all__ = ["CHECKS", "Bed", "Check", "by_definition", "cached", "returned", "run_checks", "seeded", "together"]

_TIE = 64 * 2.0**-24
"""Two tokens whose logits differ by less, relative to the largest, may change places in float32."""

_BLOCK = 8
_ANSWER = 12


@dataclass
class Check:
    name: str
    compared: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.compared > 0 and not self.faults


@dataclass(frozen=True)
class Bed:
    """A model to check engines with. Weights are those of ``shape``; prompts follow from ``seed``."""

    paddle: Any
    shape: DecoderShape
    weights: Weights
    seed: int = 0

    def engine(self, most_running: int, blocks: int = 0, share: bool = False) -> Engine:
        limits = Limits(most_running=most_running)
        settings = EngineSettings("float32", _BLOCK, blocks, share, limits)
        return Engine(self.paddle, self.shape, self.weights, settings)

    def requests(self, count: int, part: int, **options: Any) -> list[Request]:
        """Prompts of 1 to 40 tokens."""
        random = np.random.RandomState([self.seed, part])
        made = []
        for i, length in enumerate(random.randint(1, 41, count)):
            prompt = tuple(int(t) for t in random.randint(3, self.shape.vocabulary, length))
            made.append(Request(f"{i}", prompt, _ANSWER, logprobs=2, **options))
        return made


def _differences(check: Check, what: str, found: Sequence[Output], wanted: Sequence[Output]) -> None:
    """Compares two answers token by token, up to a tie, and the log probabilities of their tokens."""
    check.compared += 1
    if len(found) != len(wanted):
        check.faults.append(f"{what}: {len(found)} tokens, not {len(wanted)}")
        return
    for place, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert one.logprob is not None
        assert other.logprob is not None
        limit = _TIE * max(1.0, abs(other.logprob))
        if one.token != other.token:
            if other.top[0][1] - other.top[1][1] > limit:
                check.faults.append(f"{what}: token {place} is {one.token}, not {other.token}")
            return
        if abs(one.logprob - other.logprob) > limit:
            off = abs(one.logprob - other.logprob)
            check.faults.append(f"{what}: the log probability of token {place} is off by {off:.2g}")
            return


def together(bed: Bed) -> Check:
    """Answers in a full, ever changing batch, over a cache too small for all at once, are the answers alone."""
    check = Check("together")
    requests = bed.requests(10, 0)
    crowd = bed.engine(most_running=6, blocks=32)
    answers = crowd.run(requests)
    alone = bed.engine(most_running=1)
    for request in requests:
        _differences(check, f"request {request.id}", answers[request.id], alone.run([request])[request.id])
    if sum(crowd.pool.blocks_for(len(r.prompt) + r.limit) for r in requests) <= crowd.pool.count:
        check.faults.append("the cache held all requests at once: no block was used twice")
    return check


def cached(bed: Bed) -> Check:
    """A prompt whose beginning is in the cache is answered as one that was computed whole."""
    check = Check("cached")
    engine, fresh = bed.engine(most_running=4, share=True), bed.engine(most_running=4)
    random = np.random.RandomState([bed.seed, 1])
    begin = tuple(int(t) for t in random.randint(3, bed.shape.vocabulary, 2 * _BLOCK))
    requests = [replace(request, prompt=begin + request.prompt[:10]) for request in bed.requests(4, 2)]
    engine.run(requests[:1])
    answers, wanted = engine.run(requests), fresh.run(requests)
    for request in requests:
        _differences(check, f"request {request.id}", answers[request.id], wanted[request.id])
        if not answers[request.id][0].shared:
            check.faults.append(f"request {request.id}: nothing came out of the cache")
    return check


def seeded(bed: Bed) -> Check:
    """Sampling follows its seed, in any company, and nothing but its seed."""
    check = Check("seeded")
    requests = bed.requests(6, 3, temperature=1.0, top_p=0.9, seed=bed.seed)
    first, again = (bed.engine(most_running=6).run(requests) for _ in range(2))
    alone = bed.engine(most_running=1)
    other = [replace(request, seed=bed.seed + 1) for request in requests]
    others = bed.engine(most_running=6).run(other)
    for request in requests:
        tokens = [[o.token for o in answers[request.id]] for answers in (first, again, alone.run([request]), others)]
        check.compared += 1
        if tokens[0] != tokens[1]:
            check.faults.append(f"request {request.id}: the same seed gives other tokens")
        elif tokens[0] != tokens[2]:
            check.faults.append(f"request {request.id}: alone, the same seed gives other tokens")
        elif tokens[0] == tokens[3]:
            check.faults.append(f"request {request.id}: another seed gives the same {len(tokens[0])} tokens")
    return check


def by_definition(bed: Bed) -> Check:
    """Every token is the likeliest by the model's definition in float64, each sequence of a batch by itself."""
    check = Check("by_definition")
    requests = bed.requests(4, 4)
    answers = bed.engine(most_running=4).run(requests)
    for request in requests:
        tokens = [output.token for output in answers[request.id] if output.token is not None]
        logits = oracle_logits(bed.shape, bed.weights, [*request.prompt, *tokens])[len(request.prompt) - 1 : -1]
        limit = _TIE * float(np.abs(logits).max())
        check.compared += len(tokens)
        for place, (token, row) in enumerate(zip(tokens, logits, strict=True)):
            if row.max() - row[token] > limit:
                check.faults.append(f"request {request.id}: token {place} is {token}, not {int(row.argmax())}")
                break
    return check


def returned(bed: Bed) -> Check:
    """Requests that are cancelled, waiting or at work, give their blocks back, and the others are answered."""
    check = Check("returned")
    engine = bed.engine(most_running=3, blocks=32)
    requests = bed.requests(6, 5)
    for request in requests:
        engine.submit(request)
    engine.step()
    for id in ("1", "5"):
        if not engine.cancel(id):
            check.faults.append(f"request {id} cannot be cancelled")
    ended = set()
    while not engine.idle:
        ended |= {output.id for output in engine.step() if output.finish is not None}
    check.compared = len(requests)
    if ended != {"0", "2", "3", "4"}:
        check.faults.append(f"answered were {sorted(ended)}, not 0, 2, 3, 4")
    if engine.pool.used:
        check.faults.append(f"{engine.pool.used} blocks have not come back")
    return check


CHECKS: tuple[Callable[[Bed], Check], ...] = (together, cached, seeded, by_definition, returned)


def run_checks(bed: Bed) -> list[Check]:
    """Every check on ``bed``."""
    return [check(bed) for check in CHECKS]
