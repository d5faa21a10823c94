"""Unit roundoffs by dtype, and the arithmetic in which a kernel works: storage, compute and accumulator precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

__all__ = ["FLOATS", "Arithmetic", "is_float", "numpy_dtype", "smallest_normal", "unit_roundoff"]

FLOATS = ("float16", "bfloat16", "float32", "float64")

_UNIT_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
_SMALLEST_NORMAL = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}
_HALF = ("float16", "bfloat16")


def is_float(dtype: str) -> bool:
    return dtype in FLOATS


def numpy_dtype(dtype: str) -> npt.DTypeLike:
    """The NumPy dtype for a Paddle dtype name; bfloat16 comes from ml_dtypes."""
    return np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)


def unit_roundoff(dtype: str) -> float:
    """Half the distance from 1 to the next number: 2^-24 for float32, 2^-11 for float16, 2^-8 for bfloat16."""
    return _UNIT_ROUNDOFF[dtype]


def smallest_normal(dtype: str) -> float:
    return _SMALLEST_NORMAL[dtype]


@dataclass(frozen=True)
class Arithmetic:
    """How a kernel computes, as far as its declaration says.

    ``storage`` is the dtype of its tensors. Sums are held in ``accumulator``, as the vendor declares for the kernel.
    Single operations are taken to be done in the storage dtype for float32 and float64, and in the accumulator for
    the half types, which are rounded to storage once, when the result is written.
    """

    storage: str
    accumulator: str

    @classmethod
    def of(cls, storage: str, accumulator: str | None = None) -> Arithmetic:
        """``accumulator`` None or "undefined": nothing is declared, so sums are held in the storage dtype."""
        if accumulator is None or not is_float(accumulator):
            accumulator = storage
        return cls(storage, accumulator)

    @property
    def compute(self) -> str:
        return self.accumulator if self.storage in _HALF else self.storage

    @property
    def u_out(self) -> float:
        return unit_roundoff(self.storage)

    @property
    def u(self) -> float:
        return unit_roundoff(self.compute)

    @property
    def tiny(self) -> float:
        """The smallest normal number of the compute dtype."""
        return smallest_normal(self.compute)

    @property
    def u_acc(self) -> float:
        return unit_roundoff(self.accumulator)

    @property
    def reference(self) -> npt.DTypeLike:
        """The NumPy dtype in which oracles work: float64, and the longest double for float64 kernels."""
        return np.dtype(np.longdouble) if self.storage == "float64" else np.dtype(np.float64)

    def representable(self, value: Any) -> bool:
        """Whether every element of ``value`` is a number of the compute dtype."""
        array = np.asarray(value, dtype=self.reference)
        with np.errstate(over="ignore"):
            rounded = array.astype(numpy_dtype(self.compute)).astype(self.reference)
        return bool(np.all((rounded == array) | np.isnan(array)))
