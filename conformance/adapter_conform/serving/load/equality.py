"""Whether an answer under load is the answer that the request gets alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from adapter_conform.serving.load.client import Seen, ask

__all__ = ["TIES", "Equality", "compare_alone", "same_tokens"]

TIES = {"float32": 1e-5, "float16": 4 * 2.0**-11, "bfloat16": 4 * 2.0**-8}
"""Dtype of the model -> lead of a token that decides nothing. Logits come out of a product in that dtype, so that
either of two may be off by a rounding or two: for half types, four roundings of a logit near 1. In float32 the
roundings before that product weigh more: some ten times what was seen (6e-7 of the largest logit)."""


@dataclass
class Equality:
    compared: int = 0
    tokens: int = 0
    """That were compared."""
    ties: int = 0
    """Answers that part where two tokens were equally likely; their rest was not compared."""
    differences: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Something was compared, most of it to the end, and nothing differed."""
        return not self.differences and 2 * self.ties < self.compared

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "holds": self.holds}


def same_tokens(found: Equality, loaded: Seen, alone: Seen, tie: float) -> None:
    """Compares two answers to one request. They may part only where alone the likeliest token led the next by at most
    ``tie`` (log probability)."""
    found.compared += 1
    for place, (one, other) in enumerate(zip(loaded.tokens, alone.tokens, strict=True)):
        if one != other:
            margin = alone.margins[place]
            if margin <= tie:
                found.ties += 1
            else:
                prompt = list(loaded.arrival.prompt[:4])
                found.differences.append(
                    f"prompt {prompt}...: token {place} is {one} under load, {other} alone, which led by {margin:.3g}"
                )
            return
        found.tokens += 1


async def compare_alone(url: str, loaded: Sequence[Seen], tie: float, patience: float) -> Equality:
    """Asks for each of ``loaded`` again, one at a time.

    Raises:
        RuntimeError: a request was not answered now.
    """
    found = Equality()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience)) as session:
        for one in loaded:
            alone = await ask(session, url, one.arrival, time.perf_counter(), logprobs=2)
            if not alone.ok:
                raise RuntimeError(f"a request that was answered under load fails alone: {alone.status} {alone.error}")
            same_tokens(found, one, alone, tie)
    return found
