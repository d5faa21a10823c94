"""Arithmetic of poorer units, for faults that compute with it."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from adapter_faults.call import Array

__all__ = ["bfloat16", "contract", "toward_zero"]

bfloat16 = np.dtype(ml_dtypes.bfloat16)
_BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}


def toward_zero(values: Array, dtype: Any) -> Array:
    """``values`` (float64) cut off, not rounded, to ``dtype``."""
    nearest = np.atleast_1d(np.asarray(values.astype(dtype)))
    bits = nearest.view(_BITS[nearest.dtype.itemsize])
    too_large = np.abs(nearest.astype(np.float64)) > np.abs(np.atleast_1d(values))
    cut = np.where(too_large & np.isfinite(nearest), bits - 1, bits).astype(bits.dtype)
    return np.asarray(cut.view(nearest.dtype).reshape(values.shape))


def contract(left: Array, right: Array, accumulator: Any) -> Array:
    """The matrix product with every partial sum rounded to ``accumulator``."""
    total = np.zeros((*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1]))
    for k in range(left.shape[-1]):
        term = left[..., :, k : k + 1].astype(np.float64) * right[..., k : k + 1, :].astype(np.float64)
        total = (total + term).astype(accumulator).astype(np.float64)
    return total
