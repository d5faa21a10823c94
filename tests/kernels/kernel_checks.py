"""What the kernel tests share: drawn arrays, sums of broadcast gradients, distances in units of the last place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "assert_exact", "assert_within_ulps", "draw", "sum_to_shape", "with_specials"]

Array = NDArray[Any]

SPECIALS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30)


def draw(shape: tuple[int, ...], dtype: str, seed: int, low: float, high: float) -> Array:
    """Reproducible values in [low, high): reals for floating dtypes, integers for the others (bool: 0 and 1)."""
    rng = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return np.asarray(rng.uniform(low, high, shape)).astype(dtype)
    if dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape)).astype(dtype)
    return np.asarray(rng.integers(int(low), int(high), shape)).astype(dtype)


def with_specials(array: Array, seed: int) -> Array:
    """A copy in which about every third element is NaN, infinite, a signed zero, one or tiny."""
    rng = np.random.default_rng(seed + 1)
    chosen = rng.random(array.shape) < 1 / 3
    return np.where(chosen, rng.choice(SPECIALS, array.shape), array).astype(array.dtype)


def sum_to_shape(terms: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of an operand of ``shape`` that was broadcast: its terms summed over the broadcast axes."""
    lead = terms.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and terms.shape[i + lead] != 1)
    return np.asarray(terms.sum(axis=axes, keepdims=True)).reshape(shape)


def assert_exact(got: Array, wanted: Array) -> None:
    """Same shape and dtype, same bits; one NaN is as good as another."""
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)
    if got.dtype.kind == "f":
        numbers = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(wanted)[numbers], "sign of zero")


def assert_within_ulps(got: Array, wanted: Array, ulps: float, magnitude: Array | None = None) -> None:
    """``got`` lies within ``ulps`` units in the last place of ``wanted`` (of higher precision), or of ``magnitude``.

    ``magnitude`` is the size of the terms that ``wanted`` is the sum of, where they may cancel. NaN and infinities must
    stand in the same places with the same sign; a result beyond the dtype's range counts as infinite.
    """
    assert got.shape == wanted.shape
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = wanted.astype(got.dtype)
        size = np.abs(wanted if magnitude is None else magnitude).astype(got.dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    unit = np.spacing(np.minimum(np.maximum(size, np.abs(rounded)), np.finfo(got.dtype).max))[finite]
    error = np.abs(got[finite].astype(np.longdouble) - wanted[finite].astype(np.longdouble))
    worst = np.max(error / unit, initial=0.0)
    assert worst <= ulps, f"{worst} ulps from the definition, {ulps} allowed"
