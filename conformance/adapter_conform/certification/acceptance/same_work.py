"""Whether device and reference did the same thing at all, to the end."""

from __future__ import annotations

import math
from collections.abc import Iterator

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.comparison import Comparison
from adapter_conform.certification.acceptance.figures import at_most, fulfilled, inconclusive
from adapter_conform.certification.acceptance.windows import FACTOR
from adapter_conform.certification.measurement import Measurement

__all__ = ["checks", "comparability", "completeness", "merging"]

_DEMANDED_CHECKS = {"lora": ("lora reloaded", "lora merged")}
"""Task -> checks that the device must have made."""
_MERGED = "lora merged"


def comparability(comparison: Comparison) -> Iterator[GateFigure]:
    """The same recipe, data and weights, bit for bit: figures of other work cannot be compared."""
    faults = list(_foreign("device", comparison.device, comparison))
    for run in (comparison.base, *comparison.repeats):
        faults += _foreign(f"reference run {run.variant!r}", run, comparison)
    for name, digest in comparison.base.digests.items():
        mine = comparison.device.digests.get(name)
        if mine != digest:
            faults.append(f"{name}: the device used {_short(mine)}, the reference {_short(digest)}")
    if faults:
        yield inconclusive("same work", "recipe, data, weights", "; ".join(faults), 1.0)
    else:
        yield fulfilled(
            "same work", "recipe, data, weights", "", f"digests agree: {', '.join(comparison.base.digests)}"
        )


def completeness(device: Measurement, steps: int) -> Iterator[GateFigure]:
    """No crash, every step done, every figure finite."""
    fault = f"it ended early: {device.error}" if device.error else ""
    yield fulfilled("complete", "training", fault)
    yield at_most(
        "complete", "steps missing", steps - len(device.losses), 0.0, f"{len(device.losses)} of {steps} steps"
    )
    for name in ("losses", "gradient_norms"):
        figures = getattr(device, name)
        wrong = [step for step, value in enumerate(figures) if not math.isfinite(value)]
        words = f"first at step {wrong[0]}" if wrong else ""
        yield at_most("finite", name.replace("_", " "), float(len(wrong)), 0.0, words)


def checks(comparison: Comparison) -> Iterator[GateFigure]:
    """Yes/no checks of the task, e.g. that an adapter gives the same output when it was saved and read again."""
    for name, fault in comparison.device.checks.items():
        yield fulfilled("check", name, fault)
    for name in _DEMANDED_CHECKS.get(comparison.recipe.task, ()):
        if name not in comparison.device.checks:
            yield inconclusive("check", name, "it was not made")


def merging(comparison: Comparison) -> Iterator[GateFigure]:
    """Merged adapters are the same sums in another order. How far that moves a logit depends on the adapters' size, so
    that the limit is FACTOR times what it does to the reference's own, in the largest of its runs."""
    gate, output = "merging", "logit, relative to the largest"
    runs = [run.figures[_MERGED] for run in (comparison.base, *comparison.repeats) if _MERGED in run.figures]
    if _MERGED not in comparison.device.figures or not runs:
        who = "device" if runs else "reference"
        yield inconclusive(gate, output, f"the {who} has not measured it")
        return
    note = f"limit: {FACTOR:g} x the largest of {len(runs)} runs of the reference"
    yield at_most(gate, output, comparison.device.figures[_MERGED], FACTOR * max(runs), note)


def _foreign(who: str, run: Measurement, comparison: Comparison) -> Iterator[str]:
    recipe = comparison.recipe
    if run.recipe != recipe.id:
        yield f"{who}: recipe {run.recipe!r} in place of {recipe.id!r}"
    elif run.recipe_digest != recipe.digest:
        yield f"{who}: another edition of the recipe ({_short(run.recipe_digest)}, here {_short(recipe.digest)})"


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]
