"""Weights in safetensors, a format that can hold nothing but arrays; exact, and in half the room where float16 does."""

from __future__ import annotations

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from adapter_conform.certification.packs.errors import PackError
from adapter_conform.certification.recipes.starting import Weights

__all__ = ["packed", "unpacked"]

_HEADER = 8
"""Bytes before the header, which hold its length."""


def packed(weights: Weights) -> bytes:
    """float16 where that holds every number of the array, float32 elsewhere."""
    arrays = {}
    for name, array in weights.items():
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float16)
        arrays[name] = np.ascontiguousarray(narrow if np.array_equal(narrow.astype(np.float32), array) else array)
    data: bytes = save(arrays)
    return data


def unpacked(data: bytes, name: str) -> Weights:
    """float32 arrays. Raises PackError for anything else than what :func:`packed` wrote."""
    if len(data) < _HEADER or int.from_bytes(data[:_HEADER], "little") > len(data) - _HEADER:
        raise PackError(f"{name} is no safetensors file; other formats, pickles above all, are never loaded")
    try:
        arrays = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise PackError(f"{name} is no safetensors file: {error}") from error
    for key, array in arrays.items():
        if array.dtype not in (np.float16, np.float32) or not np.isfinite(array).all():
            raise PackError(f"{name}: {key} is {array.dtype} or holds what is no finite number")
    return {key: array.astype(np.float32) for key, array in arrays.items()}
