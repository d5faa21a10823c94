"""DPO: the reward margin of held-out preferences, and how often the chosen answer wins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.comparison import Comparison, paired_items
from adapter_conform.certification.acceptance.equivalence import ALPHA
from adapter_conform.certification.acceptance.figures import at_most, inconclusive
from adapter_conform.certification.acceptance.scores import equivalent
from adapter_conform.certification.measurement import Item

__all__ = ["preferences"]

_FEWEST = 30
"""Items for a normal interval of a mean."""


def preferences(comparison: Comparison) -> Iterator[GateFigure]:
    yield equivalent(comparison, "score", "chosen preferred")
    yield _margin(comparison)


def _margin(comparison: Comparison) -> GateFigure:
    """Interval of the mean difference of margins, relative to the mean size of the reference's, inside the margin."""
    gate, output, limit = "score", "reward margin, relative", comparison.limits.score
    pairs, fault = paired_items(comparison)
    if fault or len(pairs) < _FEWEST:
        return inconclusive(gate, output, fault or f"{len(pairs)} items, {_FEWEST} are needed")
    try:
        device = np.array([_margin_of(one) for one, _ in pairs])
        reference = np.array([_margin_of(other) for _, other in pairs])
    except KeyError as error:
        return inconclusive(gate, output, f"an item lacks {error}")
    size = float(np.abs(reference).mean())
    if size == 0:
        return inconclusive(gate, output, "the reference has learned no preference")
    difference = (device - reference) / size
    half = NormalDist().inv_cdf(1 - ALPHA) * float(difference.std(ddof=1)) / math.sqrt(len(pairs))
    mean = float(difference.mean())
    note = f"{len(pairs)} items; mean difference {mean:+.2e}, {1 - 2 * ALPHA:.0%} interval +-{half:.1e}, of {size:.4g}"
    if abs(mean) - half < limit < abs(mean) + half:
        return inconclusive(gate, output, note, abs(mean) + half, limit)
    return at_most(gate, output, abs(mean) + half, limit, note)


def _margin_of(item: Item) -> float:
    return item.figures["chosen"] - item.figures["rejected"]
