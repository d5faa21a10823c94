"""Scores on held-out items, held against the reference's item by item."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.comparison import Comparison, paired_items
from adapter_conform.certification.acceptance.equivalence import Equivalence, equivalence
from adapter_conform.certification.acceptance.figures import at_most, inconclusive
from adapter_conform.certification.acceptance.rouge import exact_match, rouge_l, rouge_n
from adapter_conform.certification.measurement import Item

__all__ = ["SCORES", "Score", "accuracy", "equivalent", "mean_score", "texts"]

Score = Callable[[Item], float]

SCORES: dict[str, Score] = {
    "exact match": lambda item: exact_match(item.answer, item.expected),
    "ROUGE-1": lambda item: rouge_n(item.answer, item.expected, 1),
    "ROUGE-2": lambda item: rouge_n(item.answer, item.expected, 2),
    "ROUGE-L": lambda item: rouge_l(item.answer, item.expected),
    "chosen preferred": lambda item: float(item.figures["chosen"] > item.figures["rejected"]),
}
"""Between 0 and 1 for each item."""


def accuracy(comparison: Comparison) -> Iterator[GateFigure]:
    """Share of right answers."""
    if comparison.recipe.evaluation.items:
        yield equivalent(comparison, "accuracy", "exact match")


def texts(comparison: Comparison) -> Iterator[GateFigure]:
    """Exact match and ROUGE-1, -2, -L of what was decoded greedily."""
    for name in ("exact match", "ROUGE-1", "ROUGE-2", "ROUGE-L"):
        yield equivalent(comparison, "score", name)


def equivalent(comparison: Comparison, gate: str, name: str) -> GateFigure:
    """The equivalence test on one score."""
    pairs, fault = paired_items(comparison)
    if fault or not pairs:
        return inconclusive(gate, name, fault or "no items")
    try:
        device, reference = (np.array([SCORES[name](pair[side]) for pair in pairs]) for side in (0, 1))
        result = equivalence(device - reference, comparison.limits.score)
    except (KeyError, ValueError) as error:
        return inconclusive(gate, name, f"an item lacks {error}" if isinstance(error, KeyError) else str(error))
    level = f"{device.mean():.4f} on the device, {reference.mean():.4f} on the reference; "
    return _figure(gate, name, result, level)


def mean_score(items: list[Item], name: str) -> float:
    """NaN where there are none. Raises KeyError for an item without the figures that the score needs."""
    return sum(SCORES[name](item) for item in items) / len(items) if items else math.nan


def _figure(gate: str, name: str, result: Equivalence, level: str) -> GateFigure:
    words = level + result.words()
    if result.accepted:
        return at_most(gate, name, result.worst, result.margin, words)
    if result.rejected:
        return at_most(gate, name, max(result.worst, np.nextafter(result.margin, 1)), result.margin, words)
    return inconclusive(gate, name, f"equivalence within the margin is not shown; {words}", result.worst, result.margin)
