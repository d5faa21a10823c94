"""Whether a measurement is one: every figure a finite number, every curve as long as the training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from adapter_conform.certification.arrays import as_array
from adapter_conform.certification.logits import LogitRecord
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes.inference import SCHEMES

__all__ = ["PRECISIONS", "measurement_faults"]

PRECISIONS = ("float32", "bfloat16")
"""Of trainings."""


def measurement_faults(measurement: Measurement) -> Iterator[str]:
    """What is wrong with a measurement of a reference, a line each."""
    for name in ("recipe", "recipe_digest", "precision", "variant", "error"):
        if not isinstance(getattr(measurement, name), str):
            yield f"{name} is no text"
    infers = str(measurement.recipe).endswith("/inference")
    known = tuple(SCHEMES) if infers else PRECISIONS
    if measurement.precision not in known:
        yield f"precision {measurement.precision!r} is none of {', '.join(known)}"
    if measurement.error:
        yield f"it ended early: {measurement.error}"
    yield from _curve_faults(measurement, ("losses", "seconds") if infers else ("losses", "gradient_norms", "seconds"))
    paints = infers and isinstance(measurement.arrays, dict) and "noise" in measurement.arrays  # in place of logits
    yield from _logit_faults(measurement, infers and not paints)
    for name in ("validation_losses", "digests", "environment", "executed", "checks", "figures"):
        if not isinstance(getattr(measurement, name), dict):
            yield f"{name} is no object"
    if isinstance(measurement.validation_losses, dict) and not _finite(measurement.validation_losses.values()):
        yield "a validation loss is no finite number"
    if isinstance(measurement.figures, dict) and not _finite(measurement.figures.values()):
        yield "a figure is no finite number"
    yield from _array_faults(measurement.arrays)
    for item in measurement.items:
        if not isinstance(item.id, str) or not isinstance(item.figures, dict) or not _finite(item.figures.values()):
            yield f"item {item.id!r} is no item"
            break
        if not all(type(token) is int for token in (*item.expected, *item.answer)):
            yield f"item {item.id!r}: a token is no integer"
            break


def _logit_faults(measurement: Measurement, infers: bool) -> Iterator[str]:
    if not isinstance(measurement.logits, dict) or infers != ("model" in measurement.logits):
        yield "it has no logits of a model" if infers else "a training has no logits"
        return
    for name, data in measurement.logits.items():
        try:
            LogitRecord.from_json(data)
        except ValueError as error:
            yield f"logits of {name!r}: {error}"


def _array_faults(arrays: Any) -> Iterator[str]:
    if not isinstance(arrays, dict):
        yield "arrays is no object"
        return
    for name, text in arrays.items():
        try:
            if not np.isfinite(as_array(text)).all():
                yield f"array {name!r} holds something that is no finite number"
        except ValueError as error:
            yield f"array {name!r}: {error}"


def _curve_faults(measurement: Measurement, names: tuple[str, ...]) -> Iterator[str]:
    steps = measurement.losses
    if not isinstance(steps, list) or not steps:
        yield "it has no losses"
        return
    if not isinstance(measurement.curves, dict):
        yield "curves is no object"
        return
    named = {name: getattr(measurement, name) for name in names}
    for name, curve in (*named.items(), *measurement.curves.items()):
        if not isinstance(curve, list) or not _finite(curve):
            yield f"{name} holds something that is no finite number"
        elif len(curve) != len(steps):
            yield f"{name} has {len(curve)} figures, losses has {len(steps)}"


def _finite(values: Iterable[Any]) -> bool:
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)
