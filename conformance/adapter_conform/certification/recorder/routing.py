"""Mixtures of experts at a tie: what a training would have been, had rounding chosen the other expert.

A router takes the experts with the largest probabilities. Where the last one taken and the first one left out are
equally likely up to rounding, rounding decides, and the output jumps: no training is right, none wrong. The limits of
acceptance come from how far correct trainings lie apart, so one of the repetitions decides every tie the other way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["TIE", "other_experts"]

TIE = 2.0**-20
"""Difference of two probabilities below which rounding decides. Measured over 257 steps of the proxy between PyTorch
and a device, both in float32: such differences lie up to 6.3e-7 apart before any choice is another one."""


@contextmanager
def other_experts(count: int) -> Iterator[list[int]]:
    """While it lasts, ``torch.topk`` of ``count`` out of float32 [tokens, experts] decides ties the other way, which is
    how the mixtures of transformers choose. Gives a list that holds the number of ties decided so far."""
    original = torch.topk
    decided = [0]

    def topk(x: Any, k: int, *arguments: Any, **named: Any) -> Any:
        if k != count or x.ndim != 2 or x.shape[-1] <= k or x.dtype != torch.float32:
            return original(x, k, *arguments, **named)
        values, indices = original(x, k + 1, *arguments, **named)
        tied = values[:, k - 1] - values[:, k] < TIE
        decided[0] += int(tied.sum())
        chosen = indices[:, :k].clone()
        chosen[:, k - 1] = torch.where(tied, indices[:, k], indices[:, k - 1])
        return torch.return_types.topk((x.gather(1, chosen), chosen))

    torch.topk = topk
    try:
        yield decided
    finally:
        torch.topk = original
