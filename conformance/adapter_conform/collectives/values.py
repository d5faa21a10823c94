"""Inputs of collectives: exact under every order of reduction, different in every element and rank.

The idea of inputs for which any order of summation gives the same number is nccl-tests'.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

__all__ = ["REDUCTIONS", "exact_part", "movable_part", "numpy_dtype", "reduced"]

Array = NDArray[Any]

REDUCTIONS = ("sum", "max", "min", "prod", "avg")

_EXACT_INTEGERS = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}
"""Every whole number up to here is a number of the dtype."""


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)


def exact_part(seed: int, rank: int, ranks: int, count: int, dtype: str, reduction: str) -> Array:
    """What ``rank`` gives to a reduction: ``count`` elements, 1-D.

    Whole numbers, bounded so that no partial result of ``ranks`` of them needs rounding or overflows. For an average
    they are multiples of ``ranks``; for a product they are powers of two with signs where the dtype has any.
    """
    draw = np.random.default_rng([seed, rank, 1])
    target = numpy_dtype(dtype)
    if dtype == "bool":
        return draw.integers(0, 2, count).astype(bool)
    signed = not dtype.startswith("uint")
    most = _EXACT_INTEGERS.get(dtype) or int(np.iinfo(target).max)
    if reduction == "prod":
        bits = most.bit_length() - 1
        exponents: Array = draw.integers(0, max(1, min(4, bits // ranks)), count, endpoint=True)
        if ranks > bits:  # then only every other rank has a factor in an element
            exponents = exponents * ((np.arange(count) + rank) % 2)
        powers = 2**exponents
        return (powers * (draw.choice([-1, 1], count) if signed else 1)).astype(target)
    bound = min(most // ranks, 2**20)
    if reduction == "avg":
        bound = max(1, bound // ranks)
    values = draw.integers(-bound if signed else 0, bound, count, endpoint=True)
    return (values * (ranks if reduction == "avg" else 1)).astype(target)


def movable_part(seed: int, source: int, count: int, dtype: str) -> Array:
    """What is only moved: ``count`` elements of any finite value, 1-D. ``source`` tells parts apart."""
    draw = np.random.default_rng([seed, source, 2])
    target = numpy_dtype(dtype)
    if dtype == "bool":
        return draw.integers(0, 2, count).astype(bool)
    if target.kind in "iu":
        limits = np.iinfo(target)
        return draw.integers(limits.min, limits.max, count, dtype=target, endpoint=True)
    return (draw.standard_normal(count) * 100).astype(target)


_COMBINE: dict[str, Callable[[Array, Array], Array]] = {
    "sum": np.add,
    "avg": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "prod": np.multiply,
}


def reduced(parts: list[Array], reduction: str) -> Array:
    """The exact result, in the dtype of the parts. Of booleans, sum and max are "or", prod and min "and"."""
    target = parts[0].dtype
    if target == np.dtype(bool):
        combine = np.maximum if reduction in ("sum", "max") else np.minimum
        return np.asarray(reduce(combine, parts), bool)
    wide = [part.astype(np.float64 if part.dtype.itemsize < 8 or target.kind == "f" else np.int64) for part in parts]
    total = reduce(_COMBINE[reduction], wide)
    return np.asarray(total / len(parts) if reduction == "avg" else total).astype(target)
