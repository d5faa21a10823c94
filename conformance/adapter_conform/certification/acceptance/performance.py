"""Throughput by the standard's metric: tokens per second and card, over the peak TFLOPS of the card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.extras import Extras
from adapter_conform.certification.acceptance.figures import at_most, inconclusive, information
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.standard import Baseline, Limits, Requirement

__all__ = ["WARM_UP", "Throughput", "peaks", "ratio", "throughput", "throughput_figures"]

WARM_UP = 20
"""Steps that are also shown apart: the mean of the standard is over the first steps, these included."""


@dataclass(frozen=True)
class Throughput:
    """Tokens per second of the whole machine."""

    mean: float
    """All tokens of the first 1000 steps over all their time, as the standard has it."""
    warm_up: float
    """Of the first WARM_UP steps."""
    median: float
    """Of the steps after them."""
    quarter: float
    three_quarters: float


def throughput(run: Measurement, limits: Limits) -> Throughput | None:
    """None where no step was timed."""
    seconds = np.asarray(run.seconds[: limits.early_steps], dtype=np.float64)
    if not seconds.size or not run.tokens_per_step or not (seconds > 0).all():
        return None
    rates = run.tokens_per_step / seconds
    settled = rates[WARM_UP:] if rates.size > WARM_UP else rates
    quarter, median, three = np.quantile(settled, [0.25, 0.5, 0.75])
    first = seconds[:WARM_UP]
    return Throughput(
        mean=float(run.tokens_per_step * seconds.size / seconds.sum()),
        warm_up=float(run.tokens_per_step * first.size / first.sum()),
        median=float(median),
        quarter=float(quarter),
        three_quarters=float(three),
    )


def throughput_figures(run: Measurement, limits: Limits) -> Iterator[GateFigure]:
    """For information: whether it is enough is a question of the level."""
    found = throughput(run, limits)
    if found is None:
        yield inconclusive("performance", "tokens per second", "no step was timed")
        return
    note = (
        f"mean of the first {min(len(run.seconds), limits.early_steps)} steps; first {WARM_UP} steps "
        f"{found.warm_up:.4g}; after them median {found.median:.4g}, middle half {found.quarter:.4g} to "
        f"{found.three_quarters:.4g}"
    )
    yield information("performance", "tokens per second", found.mean, note)


def ratio(
    requirement: Requirement,
    recipe: Recipe,
    run: Measurement,
    extras: Extras,
    baseline: Baseline | None,
    limits: Limits,
) -> GateFigure:
    """Published / measured tokens per second, card and TFLOPS, against 1 / the share that the level asks for.

    Turned over so that smaller is better, as every figure here. On a proxy it informs only: the published figure is
    that of the true model.
    """
    gate, output = "performance", "ratio to the published figure"
    found, peak = throughput(run, limits), extras.peak(run.precision)
    if requirement.min_ratio is None or baseline is None or found is None or peak is None:
        why = (
            "the standard asks for none"
            if requirement.min_ratio is None
            else "no step was timed"
            if found is None
            else f"no figure is published for {requirement.model}"
            if baseline is None
            else f"the device declares no peak for {run.precision}"
        )
        if recipe.scale != "full":
            return information(gate, output, 0.0, why)
        return inconclusive(gate, output, why)
    measured = found.mean / extras.cards / peak.declared_tflops
    share = measured / baseline.tokens_per_tflops
    note = (
        f"{measured:.4g} tokens/s/card/TFLOPS, {share:.3g} of {baseline.tokens_per_tflops:.4g} published for "
        f"{baseline.model} ({baseline.hardware}); asked for: {requirement.min_ratio:g}"
    )
    if recipe.scale != "full":
        return information(gate, output, share, f"{note}; informative only: this is no run of the true model")
    return at_most(gate, "published / measured", 1 / share, 1 / requirement.min_ratio, note)


def peaks(extras: Extras) -> Iterator[GateFigure]:
    """A device cannot be faster than its peak: who declares too little gains in the standard's metric."""
    for peak in extras.peaks:
        note = f"declared {peak.declared_tflops:g} TFLOPS, measured by a large GEMM {peak.measured_tflops:.4g}"
        yield at_most(
            "peak", f"measured / declared, {peak.dtype}", peak.measured_tflops / peak.declared_tflops, 1.0, note
        )
