"""Two one-sided tests (Schuirmann 1987) on paired items: is the mean difference inside the margin?

Differences of a score between 0 and 1 lie in [-1, 1]. The hypothesis "the device loses at least m on average" is tested
by a score test: its standard error is that of the observed items after as many of them as needed were turned into a
complete loss, so that their mean is -m. For right/wrong items this is Wilson's test when all differences go one way,
and close to Tango's (1998) when they go both ways; unlike a t test it stays honest when no item differs. The quantile
is corrected for the skewness of that law (Cornish and Fisher 1938) and for half an item of discreteness. Equivalence is
claimed when both hypotheses are rejected at ALPHA, i.e. when the 1 - 2 ALPHA interval lies inside the margin, and never
with fewer items than the exact test needs when none differs: (1 - margin)^n <= ALPHA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALPHA", "Equivalence", "equivalence", "least_items"]

Floats = NDArray[np.float64]

ALPHA = 0.05
"""Probability to accept a device whose true difference is as large as the margin, either side."""
POWER = 0.9
_Z = NormalDist().inv_cdf(1 - ALPHA)
_STEPS = 60
"""Bisections: to the last bit."""


@dataclass(frozen=True)
class Equivalence:
    """Differences are device minus reference; the interval has the confidence 1 - 2 ALPHA."""

    items: int
    mean: float
    low: float
    high: float
    margin: float
    power: float
    """Probability that a device without any true difference is accepted, if as many items differ as did."""
    needed: int
    """Items for a power of POWER."""

    @property
    def accepted(self) -> bool:
        return self.items >= least_items(self.margin) and -self.margin < self.low and self.high < self.margin

    @property
    def rejected(self) -> bool:
        """The difference is shown to be larger than the margin."""
        return self.low > self.margin or self.high < -self.margin

    @property
    def worst(self) -> float:
        """The end of the interval that is farther from zero."""
        return max(abs(self.low), abs(self.high))

    def words(self) -> str:
        return (
            f"{self.items} items; difference {self.mean:+.4f}, {1 - 2 * ALPHA:.0%} interval {self.low:+.4f} to "
            f"{self.high:+.4f}; power {self.power:.0%}, {self.needed} items for {POWER:.0%}"
        )


def least_items(margin: float) -> int:
    """Fewer cannot show equivalence even when all are alike: 299 for one percentage point."""
    return math.ceil(math.log(ALPHA) / math.log1p(-margin))


def equivalence(differences: Floats, margin: float) -> Equivalence:
    """Of paired differences [items], each in -1 .. 1.

    Raises:
        ValueError: there are none, or one lies outside.
    """
    if not differences.size or not (np.abs(differences) <= 1).all():
        raise ValueError("differences of scores between 0 and 1 are needed")
    count = differences.size
    mean = float(differences.mean())
    low, high = -_upper(-differences), _upper(differences)
    half = (high - low) / 2
    # As if one more item differed: none among few items does not mean none at all.
    error = math.sqrt((float((differences**2).sum()) + 1) / (count + 1) / count)
    power = max(0.0, 2 * NormalDist().cdf((margin - half) / error) - 1)
    normal = NormalDist().inv_cdf((1 + POWER) / 2)  # both half and error shrink with the root of the items
    needed = max(least_items(margin), math.ceil(count * ((half + normal * error) / margin) ** 2))
    return Equivalence(count, mean, low, high, margin, power, needed)


def _upper(differences: Floats) -> float:
    """The largest mean that the items do not refute."""
    observed, square, cube = (float((differences**power).mean()) for power in (1, 2, 3))
    low, high = observed, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _refuted(differences.size, observed, square, cube, middle) else (middle, high)
    return high


def _refuted(count: int, observed: float, square: float, cube: float, mean: float) -> bool:
    """Whether items drawn with ``mean`` would hardly be as low as these. Their law: these, some made complete gains.

    Args:
        observed, square, cube: means of the items and of their second and third powers.
    """
    if observed >= 1 or mean >= 1:
        return mean > observed
    share = (mean - observed) / (1 - observed)
    variance = (1 - share) * (square - 2 * mean * observed + mean**2) + share * (1 - mean) ** 2
    if variance <= 0:
        return mean > observed
    third = (1 - share) * (cube - 3 * mean * square + 3 * mean**2 * observed - mean**3) + share * (1 - mean) ** 3
    skewness = third / variance**1.5 / math.sqrt(count)
    quantile = _Z - skewness * (_Z**2 - 1) / 6
    return bool((mean - observed - 0.5 / count) * math.sqrt(count / variance) > quantile)
