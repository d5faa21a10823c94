"""The acceptance rules for one output. Each yields a :class:`~adapter_conform.cases.GateFigure`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.catalogue.bounds import Array, Operand, Tracked
from adapter_conform.catalogue.precision import is_float, numpy_dtype, smallest_normal

__all__ = ["POISON", "PROVING_SIZE", "Expected", "compare", "expect", "overflow", "proves_nothing", "same_bits"]

POISON = 0xCB
"""The byte with which the SDK fills fresh outputs before a kernel runs."""


@dataclass(frozen=True)
class Expected:
    """What an output must be: ``value`` (float64 or an exact dtype) and, per element, how far off it may be."""

    value: Array
    dtype: str
    limit: Array | None
    """Absolute, in the same shape; None demands the very value, rounded once to ``dtype``."""


def expect(operand: Operand, dtype: str) -> Expected:
    """The expectation that an oracle's result states. Results below the smallest normal number may be flushed to 0."""
    if not isinstance(operand, Tracked):
        return Expected(np.asarray(operand), dtype, None)
    stored = operand.stored()
    if stored.error is None:
        return Expected(stored.value, dtype, None)
    limit = np.broadcast_to(stored.error, stored.value.shape) + smallest_normal(dtype)
    return Expected(stored.value, dtype, limit)


PROVING_SIZE = 16
"""Smaller outputs are not asked how much they prove."""

PROVING_SHARE = 0.01
"""Of the elements of an output that has to be different from zero, and from an input."""


def proves_nothing(expected: Expected, inputs: Sequence[Array]) -> str:
    """Why an output that meets ``expected`` would say nothing of the kernel; empty when it says something.

    Nothing is proved where a limit admits zero (almost) everywhere, or where the output is (almost) the copy of one of
    ``inputs``.
    """
    if expected.limit is None or expected.value.size < PROVING_SIZE:
        return ""
    with np.errstate(invalid="ignore"):
        if np.mean(~(np.abs(expected.value) <= expected.limit)) < PROVING_SHARE:
            return "zeros would be within the limits"
    for array in inputs:
        if array.shape == expected.value.shape and array.dtype.name == expected.dtype:
            copied = _same_value(array, _rounded(expected))
            if np.mean(~copied) < PROVING_SHARE:
                return "it is the copy of an input"
    return ""


def compare(
    output: str, expected: Expected, actual: Array, actual_dtype: str, probe_ulps: int | None
) -> list[GateFigure]:
    """Every gate on one output.

    Args:
        output: its name in the report, e.g. ``"out0"`` or ``"grad1"``.
        actual: as read back from the device; bfloat16 as ml_dtypes.
        actual_dtype: Paddle's name for its dtype.
        probe_ulps: for exact probes, how many units in the last place the result may be off; None otherwise.
    """
    figures = [_form(output, expected, actual, actual_dtype)]
    if not figures[0].passed:
        return figures
    figures.append(_unwritten(output, expected, actual))
    if expected.limit is None:
        return [*figures, _exact(output, expected, actual)]
    figures.append(_nonfinite(output, expected, actual))
    figures.extend(_bounded(output, expected, actual))
    if probe_ulps is not None:
        figures.append(_probe(output, expected, actual, probe_ulps))
    return figures


def _figure(gate: str, output: str, value: float, limit: float, note: str = "") -> GateFigure:
    return GateFigure(gate, output, float(value), float(limit), bool(value <= limit), note)


def _form(output: str, expected: Expected, actual: Array, actual_dtype: str) -> GateFigure:
    """Shape and dtype: 0 when both agree."""
    notes = []
    if actual.shape != expected.value.shape:
        notes.append(f"shape {list(actual.shape)}, expected {list(expected.value.shape)}")
    if actual_dtype != expected.dtype:
        notes.append(f"dtype {actual_dtype}, expected {expected.dtype}")
    return _figure("form", output, len(notes), 0, "; ".join(notes))


def _rounded(expected: Expected) -> Array:
    """The expected value in the output's dtype."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(expected.value.astype(numpy_dtype(expected.dtype)))


def _bytes(array: Array) -> Array:
    """``[elements, itemsize]`` bytes."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).reshape(flat.size, array.dtype.itemsize)


def same_bits(left: Array, right: Array) -> Array:
    """Elementwise: the same bits, or both NaN."""
    same = (_bytes(left) == _bytes(right)).all(axis=1)
    if left.dtype.kind == "f" or left.dtype == ml_dtypes.bfloat16:
        same = same | (np.isnan(left.reshape(-1)) & np.isnan(right.reshape(-1)))
    return np.asarray(same.reshape(left.shape))


def _same_value(left: Array, right: Array) -> Array:
    """Elementwise: equal (the zeros are), or both NaN. Bools hold the byte 0 or 1, nothing else."""
    if left.dtype == np.bool_:
        return same_bits(left, right)
    same = left == right
    if left.dtype.kind == "f" or left.dtype == ml_dtypes.bfloat16:
        same = same | (np.isnan(left) & np.isnan(right))
    return np.asarray(same)


def _place(mask: Array) -> str:
    """``"3 of 12, first at [0, 2]"``."""
    wrong = int(np.count_nonzero(mask))
    if not wrong:
        return ""
    first = [int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape)] if mask.ndim else []
    return f"{wrong} of {mask.size}, first at {first}"


def _unwritten(output: str, expected: Expected, actual: Array) -> GateFigure:
    """Elements that still hold the poison of before the call and should not.

    In a 16-bit dtype one result in 65,536 is the poison's value by right, so an element within its limit is written."""
    left = (_bytes(actual) == POISON).all(axis=1).reshape(actual.shape) & ~same_bits(actual, _rounded(expected))
    if expected.limit is not None and left.any():
        with np.errstate(invalid="ignore", over="ignore"):
            left &= ~(np.abs(actual.astype(expected.value.dtype) - expected.value) <= expected.limit)
    return _figure("unwritten", output, np.count_nonzero(left), 0, _place(left))


def _at(mask: Array, expected: Array, actual: Array) -> str:
    """What stands at the first wrong place."""
    if not mask.any():
        return ""
    index = np.unravel_index(int(np.argmax(mask)), mask.shape)
    return f"{_place(mask)}: {actual[index]!r}, expected {expected[index]!r}"


def _exact(output: str, expected: Expected, actual: Array) -> GateFigure:
    """Elements that differ from the only right value. The sign of zero is not judged."""
    target = _rounded(expected)
    wrong = ~_same_value(actual, target)
    return _figure("exact", output, np.count_nonzero(wrong), 0, _at(wrong, target, actual))


def overflow(expected: Expected) -> Array:
    """Where the limit reaches across the largest finite number: infinity and a finite number are both right."""
    assert expected.limit is not None
    largest = float(ml_dtypes.finfo(numpy_dtype(expected.dtype)).max)
    size = np.abs(expected.value)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(expected.value) & (size + expected.limit > largest))


def _nonfinite(output: str, expected: Expected, actual: Array) -> GateFigure:
    """NaN and infinities must stand where they should, infinities with the right sign."""
    target, numbers = _rounded(expected), actual.astype(np.float64)
    goal = target.astype(np.float64)
    finite = np.isfinite(goal)
    wrong = np.where(finite, ~np.isfinite(numbers), ~((numbers == goal) | (np.isnan(numbers) & np.isnan(goal))))
    wrong = wrong & ~(overflow(expected) & ~np.isnan(numbers) & (np.sign(numbers) == np.sign(expected.value)))
    return _figure("nonfinite", output, np.count_nonzero(wrong), 0, _at(wrong, target, actual))


def _bounded(output: str, expected: Expected, actual: Array) -> Sequence[GateFigure]:
    """The worst element against its own limit; greatest absolute and relative error for information."""
    assert expected.limit is not None
    value = expected.value
    numbers = actual.astype(value.dtype)
    judged = np.isfinite(value) & np.isfinite(numbers)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.where(judged, np.abs(numbers - value), 0.0)
        ratio = np.where(judged & ~np.isfinite(expected.limit), np.inf, error / expected.limit)
        ratio = np.where(judged, ratio, 0.0)
        relative = np.where(judged & (value != 0), error / np.abs(value), 0.0)
    return [
        _figure("bound", output, _peak(ratio), 1.0, _worst(ratio, expected, actual)),
        _figure("max_abs", output, _peak(error), np.inf),
        _figure("max_rel", output, _peak(relative), np.inf),
    ]


def _peak(array: Array) -> float:
    return float(np.max(array, initial=0.0))


def _worst(ratio: Array, expected: Expected, actual: Array) -> str:
    if not ratio.size or not np.max(ratio) > 0:
        return ""
    assert expected.limit is not None
    index = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    where = [int(i) for i in index]
    return (
        f"worst at {where}: {float(actual[index])!r}, expected {float(expected.value[index])!r} "
        f"within {float(expected.limit[index]):.3g}"
    )


def _probe(output: str, expected: Expected, actual: Array, ulps: int) -> GateFigure:
    """Exact probe: inputs for which every order of evaluation gives the very same number."""
    target = _rounded(expected)
    if not is_float(expected.dtype):
        return _exact(output, expected, actual)
    spacing = np.spacing(np.abs(target)).astype(np.float64)
    apart = np.abs(actual.astype(np.float64) - target.astype(np.float64)) / np.where(spacing > 0, spacing, 1.0)
    apart = np.where(np.isnan(apart), np.inf, apart)
    return _figure("probe", output, _peak(apart), ulps, _at(apart > ulps, target, actual))
