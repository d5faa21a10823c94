"""From outcomes to a score with its interval, and to what the comparison with a reference shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from adapter_conform.certification.acceptance.equivalence import Equivalence, equivalence
from adapter_conform.evaluation.outcomes import Outcome

__all__ = ["CONFIDENCE", "Score", "compared", "score_of", "wilson"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Score:
    """Share of right answers, with the interval of CONFIDENCE."""

    items: int
    value: float
    low: float
    high: float


def score_of(outcomes: Sequence[Outcome], by_subject: bool) -> Score:
    """The mean over items, or over subjects of their means.

    Each subject's interval is Wilson's (1927); that of a mean of subjects is put together of theirs by the recovery of
    variances (Zou and Donner 2008): the squares of the distances from the estimate to each end add up. With one subject
    it is Wilson's again.

    Raises:
        ValueError: there is no outcome.
    """
    if not outcomes:
        raise ValueError("a score needs at least one outcome")
    groups: dict[str, list[float]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.subject if by_subject else "", []).append(outcome.score)
    parts = [(sum(scores) / len(scores), *wilson(sum(scores), len(scores))) for scores in groups.values()]
    value = sum(mean for mean, _, _ in parts) / len(parts)
    below = math.sqrt(sum((mean - low) ** 2 for mean, low, _ in parts)) / len(parts)
    above = math.sqrt(sum((high - mean) ** 2 for mean, _, high in parts)) / len(parts)
    return Score(len(outcomes), value, max(0.0, value - below), min(1.0, value + above))


def wilson(right: float, items: int) -> tuple[float, float]:
    """Interval of CONFIDENCE for a share, of which ``right`` of ``items`` were seen."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, whole = right / items, items + z**2
    centre = (right + z**2 / 2) / whole
    half = z / whole * math.sqrt(items * share * (1 - share) + z**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def compared(
    device: Mapping[str, Outcome], reference: Mapping[str, Outcome], margin: float
) -> tuple[Equivalence | None, str]:
    """The two-sided equivalence test over paired items, or why there are no pairs."""
    missing, odd = reference.keys() - device.keys(), device.keys() - reference.keys()
    if missing or odd:
        return None, f"{len(missing)} items of the reference are missing, {len(odd)} are not the reference's"
    for id, outcome in reference.items():
        mine = device[id]
        if mine.expected != outcome.expected:
            return None, f"item {id}: {mine.expected!r} was expected here, {outcome.expected!r} of the reference"
        if mine.prompt and outcome.prompt and mine.prompt != outcome.prompt:
            return None, f"item {id}: the reference was asked with another prompt (other examples, or another file)"
    try:
        return equivalence(np.array([device[id].score - reference[id].score for id in reference]), margin), ""
    except ValueError as error:
        return None, str(error)
