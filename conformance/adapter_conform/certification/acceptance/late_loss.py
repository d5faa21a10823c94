"""Validation loss after the last step: the absolute difference that the standard names."""

from __future__ import annotations

from collections.abc import Iterator

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.comparison import Comparison
from adapter_conform.certification.acceptance.figures import at_most, inconclusive, information

__all__ = ["late_loss"]


def late_loss(comparison: Comparison) -> Iterator[GateFigure]:
    device, base = comparison.device.validation_losses, comparison.base.validation_losses
    if comparison.recipe.evaluation.validation_batches == 0:
        return
    if not base:
        yield inconclusive("late loss", "validation loss", "the reference has none")
        return
    last = max(base, key=int)
    for step in sorted(base, key=int):
        if step not in device:
            yield inconclusive("late loss", f"validation loss after step {step}", "the device has none")
        elif step == last:
            difference = abs(device[step] - base[step])
            note = f"after step {step}: {device[step]:.6g} on the device, {base[step]:.6g} on the reference"
            yield at_most("late loss", "validation loss", difference, comparison.limits.late_loss, note)
        else:
            yield information("validation", f"after step {step}", abs(device[step] - base[step]))
