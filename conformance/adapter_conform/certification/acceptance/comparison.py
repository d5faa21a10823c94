"""What a rule looks at: one run on the device beside the reference's runs of the same recipe and precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapter_conform.certification.measurement import Item, Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.standard import Limits

__all__ = ["Comparison", "compared", "paired_items"]

BASE = "base"


@dataclass(frozen=True)
class Comparison:
    recipe: Recipe
    device: Measurement
    base: Measurement
    """The reference run that the device is held against."""
    repeats: tuple[Measurement, ...]
    """Further reference runs that differ in what must not matter: their distance from ``base`` is the spread."""
    exact: Measurement | None
    """The reference's float32 run beside a lower precision: its distance is part of the spread."""
    limits: Limits
    exact_repeats: tuple[Measurement, ...] = ()
    """Repeats of ``exact``."""

    @property
    def spreading(self) -> tuple[Measurement, ...]:
        return self.repeats if self.exact is None else (*self.repeats, self.exact)


def compared(
    recipe: Recipe, device: Measurement, references: Sequence[Measurement], limits: Limits
) -> Comparison | None:
    """None where no reference is there for the recipe at the device's precision."""
    mine = [run for run in references if run.recipe == recipe.id and not run.error]
    same = [run for run in mine if run.precision == device.precision]
    if not same:
        return None
    base = next((run for run in same if run.variant == BASE), same[0])
    repeats = tuple(run for run in same if run is not base)
    if device.precision == "float32":
        return Comparison(recipe, device, base, repeats, None, limits)
    wide = [run for run in mine if run.precision == "float32"]
    exact = next((run for run in wide if run.variant == BASE), None)
    return Comparison(recipe, device, base, repeats, exact, limits, tuple(run for run in wide if run is not exact))


def paired_items(comparison: Comparison) -> tuple[list[tuple[Item, Item]], str]:
    """Items of device and reference by id, in the reference's order, and what keeps them from being pairs."""
    device = {item.id: item for item in comparison.device.items}
    reference = {item.id: item for item in comparison.base.items}
    if len(device) != len(comparison.device.items) or len(reference) != len(comparison.base.items):
        return [], "an item stands there twice"
    if device.keys() != reference.keys():
        lacking, odd = len(reference.keys() - device.keys()), len(device.keys() - reference.keys())
        return [], f"{lacking} items of the reference are missing, {odd} are not the reference's"
    pairs = [(device[name], reference[name]) for name in reference]
    changed = [one.id for one, other in pairs if one.expected != other.expected]
    return ([], f"the expected answer of item {changed[0]!r} is not the reference's") if changed else (pairs, "")
