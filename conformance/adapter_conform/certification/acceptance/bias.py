"""Whether the error of the loss leans to one side instead of swinging about zero.

The signs of the windows' errors are counted. Successive signs are not independent, because differences of rounding are
carried on by the weights. They are taken as those of a Gaussian autoregression: signs change from window to window with
probability q = arccos(rho) / pi, signs k windows apart correlate by (2 / pi) arcsin(rho^k) (the arcsine law), and that
gives the variance of their mean. q comes from the reference's own repeats, with half a change added so that it is
never zero, since a device that leans shows few changes by that very fault. The lean is called one when |z| exceeds the
quantile of FALSE_ALARM, two-sided; then, and only then, its mean size is held against what the reference itself leans.
Where the reference's errors hardly change their sign, nothing can be called a lean, and the limits of the windows judge
alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.comparison import Comparison
from adapter_conform.certification.acceptance.early_loss import loss_errors
from adapter_conform.certification.acceptance.figures import at_most, inconclusive

__all__ = ["FALSE_ALARM", "bias", "lean_score", "persistence"]

FALSE_ALARM = 1e-3
"""Of the sign test on one run, if the device's errors are as persistent as the reference's."""
_CRITICAL = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)
_ALLOWED = 3.0
"""Times the reference's own lean."""
_FLOOR = 0.25
"""Of the smallest limit of a window's error: a smaller lean is not called one."""


def persistence(errors: NDArray[np.float64]) -> float:
    """Correlation of successive errors [runs, windows], from how often they change their sign; never below 0."""
    signs = np.where(errors >= 0, 1, -1)
    steps = signs[:, 1:].size
    changes = np.count_nonzero(signs[:, 1:] != signs[:, :-1])
    return max(0.0, math.cos(math.pi * min(1.0, (changes + 0.5) / (steps + 1))))


def lean_score(errors: NDArray[np.float64], rho: float) -> float:
    """z of the mean sign of ``errors`` [windows] under the hypothesis of no lean; 0 where it cannot be told."""
    signs = np.sign(errors)
    count = int(np.count_nonzero(signs))
    if count == 0:
        return 0.0
    apart = np.arange(1, count)
    correlation = 2 / math.pi * np.arcsin(rho**apart)
    effective = count / (1 + 2 * float(((1 - apart / count) * correlation).sum()))
    if effective <= 4:
        return 0.0
    # Few effective signs have heavier tails than the normal law: as Student's variance.
    return float(signs.sum() / count * math.sqrt(effective - 2))


def bias(comparison: Comparison) -> Iterator[GateFigure]:
    errors = loss_errors(comparison)
    if not len(errors.spread) or errors.signed.size < 2:
        yield inconclusive("bias", "loss", "no repeated reference run tells how errors swing")
        return
    if not np.isfinite(errors.signed).all():
        yield at_most("bias", "loss", math.inf, 0.0, "the loss is not finite")
        return
    rho = persistence(errors.spread)
    score = lean_score(errors.signed, rho)
    mean = abs(float(errors.signed.mean()))
    own = float(np.abs(errors.spread.mean(axis=1)).max())
    limit = max(_FLOOR * float(errors.absolute_limit.min()), _ALLOWED * own)
    positive = int(np.count_nonzero(errors.signed > 0))
    leans = abs(score) > _CRITICAL
    note = (
        f"{positive} of {errors.signed.size} windows lie above the reference, z = {score:.3g}, called a lean beyond "
        f"{_CRITICAL:.3g} (false alarms: {FALSE_ALARM:g}); mean error {mean:.3g}; the reference leans by {own:.3g}"
    )
    yield at_most("bias", "loss", mean if leans else 0.0, limit, note)
