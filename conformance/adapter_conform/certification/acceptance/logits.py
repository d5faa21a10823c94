"""How far one record of logits lies from another, and how far it may.

A scheme has an error of its own: the reference's run in that scheme against its float32 run. The device may be
``FACTOR`` times as far from the reference's float32 run. In float32 the scheme is exact, and what counts is how far the
reference's own repeats lie apart. Divergence and cosine go with the square of an error, and so do their limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.figures import at_most, inconclusive
from adapter_conform.certification.logits import LogitRecord, log_softmax

__all__ = ["FACTOR", "REPEATS_FACTOR", "Distance", "distance", "logit_figures"]

FACTOR = 2.0
"""Of a scheme's own error. The integers are the same everywhere, and what is left is the order in which products are
rounded: refchip came to 0.6 to 0.95 times in float16 and bfloat16 (LLaMA proxy)."""
REPEATS_FACTOR = 10.0
"""Of the spread of float32 repeats, as for losses: a repeat changes one kernel, a device all of them."""
_FLOOR = 2.0**-18
"""Smallest limit of the relative error: 64 roundings of float32."""
_FEW = 3.0
"""Positions that may differ in their likeliest tokens by chance."""


@dataclass(frozen=True)
class Distance:
    """Of a found record from a wanted one."""

    rms: float
    """Root of the mean squared difference of logits over that of the wanted ones."""
    cosine: float
    """1 - mean cosine of the logits of a position."""
    divergence: float
    """Mean Kullback-Leibler divergence, nats."""
    largest: float
    """Largest difference of a logit."""
    top1: float
    """Share of positions whose likeliest token is another."""
    top5: float
    """Mean share of the five likeliest tokens that are others."""
    positions: int


def distance(found: LogitRecord, wanted: LogitRecord) -> Distance:
    """Raises ValueError where they are not of the same positions."""
    if found.full.shape != wanted.full.shape or found.top_ids.shape != wanted.top_ids.shape or not wanted.full.size:
        raise ValueError(
            f"{found.full.shape}, {found.top_ids.shape} and {wanted.full.shape}, {wanted.top_ids.shape} are no two "
            "records of the same positions"
        )
    x, y = found.full.astype(np.float64), wanted.full.astype(np.float64)
    lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    cosine = np.divide((x * y).sum(-1), lengths, out=np.zeros(len(x)), where=lengths > 0)
    p, q = log_softmax(y), log_softmax(x)
    shared = [len(np.intersect1d(one, other)) for one, other in zip(found.top_ids, wanted.top_ids, strict=True)]
    return Distance(
        rms=float(np.sqrt(((x - y) ** 2).mean() / max((y**2).mean(), np.finfo(np.float64).tiny))),
        cosine=max(0.0, float(1 - cosine.mean())),
        divergence=float((np.exp(p) * (p - q)).sum(-1).clip(min=0).mean()),
        largest=float(np.abs(x - y).max()),
        top1=float((found.top_ids[:, 0] != wanted.top_ids[:, 0]).mean()),
        top5=1 - float(np.mean(shared)) / wanted.top_ids.shape[1],
        positions=len(wanted.top_ids),
    )


def logit_figures(
    way: str, found: LogitRecord, exact: LogitRecord, own: Sequence[Distance], factor: float
) -> Iterator[GateFigure]:
    """The device against ``exact``, the reference in float32; ``own``: what the reference's runs differ by."""
    gate = f"logits, {way}"
    if not own:
        yield inconclusive(gate, "error", "the reference has no run that tells how large an error may be")
        return
    here = distance(found, exact)
    words = f"{factor:g} times the reference's own"

    def most(name: str) -> float:
        return max(float(getattr(one, name)) for one in own)

    yield at_most(gate, "relative error", here.rms, max(factor * most("rms"), _FLOOR), f"{words}, {most('rms'):.3g}")
    for name, output in (("divergence", "divergence (nats)"), ("cosine", "1 - cosine")):
        limit = max(factor**2 * most(name), _FLOOR**2 * max(1.0, float((exact.full.astype(np.float64) ** 2).mean())))
        yield at_most(gate, output, getattr(here, name), limit, f"{words} error squared, {most(name):.3g}")
    for name, output in (("top1", "likeliest token another"), ("top5", "five likeliest others")):
        note = f"{words}, {most(name):.3g}, and {_FEW:g} of {here.positions} positions"
        yield at_most(gate, output, getattr(here, name), factor * most(name) + _FEW / here.positions, note)
