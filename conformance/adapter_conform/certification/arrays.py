"""Arrays within a measurement: float32, every bit of it, as text. NumPy and the standard library only."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_array", "as_text"]


def as_text(array: NDArray[Any]) -> dict[str, Any]:
    """``shape``, and the values as float32, little-endian, in the order of C, in base 64."""
    data = np.ascontiguousarray(array, dtype="<f4")
    return {"shape": list(data.shape), "float32": base64.b64encode(data.tobytes()).decode()}


def as_array(found: Any) -> NDArray[np.float32]:
    """Raises ValueError for anything else than what :func:`as_text` wrote."""
    if not isinstance(found, dict) or found.keys() != {"shape", "float32"}:
        raise ValueError("no array of a measurement: shape or float32 is missing")
    shape, text = found["shape"], found["float32"]
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        raise ValueError(f"shape {shape!r} of an array")
    try:
        data = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
    except (binascii.Error, TypeError) as error:
        raise ValueError(f"an array that is no text in base 64: {error}") from error
    if data.size != np.prod(shape):
        raise ValueError(f"an array of shape {shape} with {data.size} numbers")
    return data.reshape(shape).astype(np.float32)
