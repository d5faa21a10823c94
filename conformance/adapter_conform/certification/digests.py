"""Digests of arrays, which say whether two runs had the same data and the same weights. NumPy only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["arrays_digest", "weights_digest"]


def arrays_digest(*arrays: NDArray[Any]) -> str:
    """sha256 over dtype, shape and bytes of ``arrays``, in order."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.name}{list(array.shape)}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def weights_digest(weights: Mapping[str, NDArray[np.float32]]) -> str:
    """sha256 over name, shape and float32 values of all ``weights``, in the order of their names.

    Of the values, so that it is the same however a file holds them.
    """
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(f"{name}:{arrays_digest(weights[name].astype(np.float32))}\n".encode())
    return found.hexdigest()
