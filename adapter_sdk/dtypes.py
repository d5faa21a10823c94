"""Data types by the names that plugins, Paddle and reports use, e.g. ``"float32"``."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from adapter_sdk.errors import did_you_mean

__all__ = ["DTYPES", "DTYPE_CODES", "to_numpy"]

DTYPE_CODES = {
    "bool": 1,
    "uint8": 2,
    "uint16": 3,
    "uint32": 4,
    "uint64": 5,
    "int8": 6,
    "int16": 7,
    "int32": 8,
    "int64": 9,
    "float16": 10,
    "float32": 11,
    "float64": 12,
    "bfloat16": 13,
}
"""Name -> number in ``plugin_table.h`` (``ADAPTER_FLOAT32`` ...)."""

DTYPES = tuple(DTYPE_CODES)


def to_numpy(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name; bfloat16 comes from ml_dtypes.

    Raises:
        ValueError: ``name`` is not one of :data:`DTYPES`.
    """
    if name not in DTYPE_CODES:
        raise ValueError(f"unknown dtype {name!r}{did_you_mean(name, DTYPES)} (known: {', '.join(DTYPES)})")
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
