"""Packs in words and rows: what one holds, and how far two lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs.pack import Pack

__all__ = ["Row", "compared", "described", "difference_lines", "error_of_means", "spread_of"]

_WINDOW = 20
"""Steps that the standard takes the mean of."""


def error_of_means(reference: Sequence[float], other: Sequence[float]) -> float:
    """Largest relative error of the means over every 20 steps; infinite where the curves differ in length."""
    if len(reference) != len(other):
        return float("inf")
    means = []
    for curve in (reference, other):
        values = np.asarray(curve, dtype=np.float64)
        whole = len(values) // _WINDOW * _WINDOW
        means.append(values[:whole].reshape(-1, _WINDOW).mean(axis=1) if whole else values)
    return float(np.max(np.abs(means[1] - means[0]) / np.maximum(np.abs(means[0]), 1e-12)))


def spread_of(measurements: Sequence[Measurement]) -> float:
    """Largest :func:`error_of_means` of the repetitions against the base, which comes first; NaN without any."""
    base, *others = measurements
    return max((error_of_means(base.losses, other.losses) for other in others), default=float("nan"))


@dataclass(frozen=True)
class Row:
    """One recipe in one precision: the bases of two packs against each other."""

    recipe: str
    precision: str
    spread: float
    """Of the first pack's own repetitions."""
    error: float
    """Of the second pack's 20-step means."""
    same_answers: float
    """Share of the items with the same tokens, or the same preference."""
    note: str = ""


def compared(first: Pack, second: Pack) -> list[Row]:
    keys = {(one.recipe, one.precision): None for pack in (first, second) for one in pack.measurements}
    return [_row(key, first.of(*key), second.of(*key)) for key in keys]


def _row(key: tuple[str, str], mine: list[Measurement], theirs: list[Measurement]) -> Row:
    nothing = float("nan")
    if not mine or not theirs:
        return Row(*key, nothing, nothing, nothing, f"only in the {'first' if mine else 'second'}")
    if mine[0].recipe_digest != theirs[0].recipe_digest:
        return Row(*key, spread_of(mine), nothing, nothing, "recipes differ")
    changed = [name for name in mine[0].digests if mine[0].digests[name] != theirs[0].digests.get(name)]
    note = f"other {', '.join(changed)}" if changed else ""
    error = error_of_means(mine[0].losses, theirs[0].losses)
    return Row(*key, spread_of(mine), error, _same_answers(mine[0], theirs[0]), note)


def _same_answers(mine: Measurement, theirs: Measurement) -> float:
    if len(mine.items) != len(theirs.items) or not mine.items:
        return float("nan")
    same = []
    for one, other in zip(mine.items, theirs.items, strict=True):
        if one.answer or other.answer:
            same.append(one.answer == other.answer)
        else:
            prefers = [item.figures["chosen"] > item.figures["rejected"] for item in (one, other)]
            same.append(prefers[0] == prefers[1])
    return float(np.mean(same))


def described(pack: Pack) -> Iterator[str]:
    provenance = pack.provenance
    yield f"{pack.name}"
    yield f"  made by      {pack.label}"
    if not pack.is_gpu:
        yield "               a verdict based on it is no comparison with a GPU, which the standard asks for"
    for name in ("device", "versions", "settings"):
        words = ", ".join(f"{key} {value}" for key, value in provenance.get(name, {}).items())
        yield f"  {name:12} {words}"
    yield f"  recorded     {provenance.get('started', '?')} to {provenance.get('finished') or 'now: not finished'}"
    yield f"  scale, seed  {pack.scale}, {pack.seed}"
    yield f"  digest       {pack.digest}"
    words = f"{'recipe':24} {'precision':10} {'variants':24} {'steps':>6} {'last loss':>10} {'spread':>9}"
    yield f"{words} {'score':>7} {'tok/s':>8}"
    for recipe, precision in dict.fromkeys((one.recipe, one.precision) for one in pack.measurements):
        yield _line(pack.of(recipe, precision))


def _line(measurements: list[Measurement]) -> str:
    base = measurements[0]
    variants = ",".join(one.variant for one in measurements)
    speed = base.tokens_per_step / np.median(base.seconds)
    return (
        f"{base.recipe:24} {base.precision:10} {variants:24} {len(base.losses):6} {base.losses[-1]:10.5f} "
        f"{spread_of(measurements):9.1e} {_score(base):>7} {speed:8.0f}"
    )


def _score(measurement: Measurement) -> str:
    """Exact match, or the share of pairs whose chosen answer is preferred."""
    if not measurement.items:
        return "-"
    right = [
        item.answer == item.expected if item.expected else item.figures["chosen"] > item.figures["rejected"]
        for item in measurement.items
    ]
    return f"{np.mean(right):.4f}"


def difference_lines(first: Pack, second: Pack, rows: Sequence[Row]) -> Iterator[str]:
    yield f"first   {first.name}: {first.label}"
    yield f"second  {second.name}: {second.label}"
    if first.digest == second.digest:
        yield f"the same pack, {first.digest}"
        return
    yield f"{'recipe':24} {'precision':10} {'spread':>9} {'error':>9} {'answers':>8}"
    for row in rows:
        yield (
            f"{row.recipe:24} {row.precision:10} {row.spread:9.1e} {row.error:9.1e} {row.same_answers:8.4f} {row.note}"
        )
    yield "spread, error: largest relative error of 20-step means of the loss, of first's repetitions and of second"
