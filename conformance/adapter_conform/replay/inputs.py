"""Seeded inputs for recorded shapes and dtypes: what each tensor may hold is decided by what the API means by it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.catalogue.precision import numpy_dtype
from adapter_conform.catalogue.values import REGIMES
from adapter_conform.catalogue.values import tensor as describe_tensor
from adapter_conform.replay.syntax import TensorArg

__all__ = [
    "ANY",
    "NONZERO",
    "POSITIVE",
    "UNIT",
    "Fill",
    "among",
    "byte_size",
    "distinct",
    "draw",
    "generator",
    "index",
    "nearly",
]

Array = NDArray[Any]


@dataclass(frozen=True)
class Fill:
    """What the elements of one tensor are drawn from.

    ``kind`` is one of

    - ``any``: floats N(0, 1), integers -9..9 (0..9 when unsigned), booleans half true;
    - ``positive``: floats uniform in [0.5, 2), integers 1..9;
    - ``unit``: floats uniform in [0, 1);
    - ``nonzero``: as ``positive`` with random signs;
    - ``index``: integers in [``low``, ``high``); needs an integer dtype unless ``low`` and ``high`` suit another one;
    - ``distinct``: integers in [0, ``high``) without repetition, ``high`` at least the number of elements;
    - ``among``: as ``any``, and about every third element replaced by one of ``values``, so that equality happens;
    - ``grid``: weights that quantize without error, see :mod:`adapter_conform.catalogue.values`;
    - ``nearly``: booleans, all ``values[0]``; every second tensor has one element of the other value.
    """

    kind: str = "any"
    low: int = 0
    high: int = 0
    values: tuple[float, ...] = ()


ANY = Fill("any")
POSITIVE = Fill("positive")
NONZERO = Fill("nonzero")
UNIT = Fill("unit")


def index(high: int, low: int = 0) -> Fill:
    """Integers in [``low``, ``high``)."""
    return Fill("index", low=low, high=high)


def distinct(high: int) -> Fill:
    """Integers in [0, ``high``), none twice."""
    return Fill("distinct", high=high)


def among(*values: float) -> Fill:
    """Random elements, about a third of them taken from ``values``."""
    return Fill("among", values=values)


def nearly(value: bool) -> Fill:
    """Booleans that are all ``value``, or all but one."""
    return Fill("nearly", values=(value,))


def byte_size(tensors: Sequence[TensorArg]) -> int:
    """Bytes that the elements of ``tensors`` take together."""
    return sum(tensor.size * np.dtype(numpy_dtype(tensor.dtype)).itemsize for tensor in tensors)


def generator(seed: int, signature: str) -> np.random.Generator:
    """The random numbers of one call: they depend on the run's seed and the call's own text alone."""
    digest = hashlib.sha256(f"{seed}/{signature}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def draw(tensor: TensorArg, fill: Fill, rng: np.random.Generator) -> Array:
    """An array of ``tensor``'s shape and dtype with elements as ``fill`` says.

    Raises:
        ValueError: the dtype cannot hold such elements, or an index range is empty.
    """
    dtype = np.dtype(numpy_dtype(tensor.dtype))
    if fill.kind in ("index", "distinct"):
        return _draw_index(tensor, fill, rng).astype(dtype)
    if fill.kind == "nearly":
        return _draw_nearly(tensor, bool(fill.values[0]), rng).astype(dtype)
    if fill.kind == "grid":
        description = describe_tensor(tensor.shape, "grid")
        return np.asarray(REGIMES["grid"](rng, tensor.shape, description)).astype(dtype)
    if tensor.dtype == "bool":
        return rng.random(tensor.shape) < 0.5
    values = _draw_integers(tensor, fill, rng) if dtype.kind in "iu" else _draw_floats(tensor, fill, rng)
    if fill.kind == "among":
        values = np.where(rng.random(tensor.shape) < 1 / 3, rng.choice(fill.values, tensor.shape), values)
    return values.astype(dtype)


def _draw_floats(tensor: TensorArg, fill: Fill, rng: np.random.Generator) -> Array:
    if fill.kind in ("any", "among"):
        return np.asarray(rng.standard_normal(tensor.shape, dtype=np.float32))
    if fill.kind == "unit":
        return np.asarray(rng.random(tensor.shape, dtype=np.float32))
    values = np.asarray(0.5 + 1.5 * rng.random(tensor.shape, dtype=np.float32))
    if fill.kind == "nonzero":
        values = np.where(rng.random(tensor.shape) < 0.5, -values, values)
    return values


def _draw_integers(tensor: TensorArg, fill: Fill, rng: np.random.Generator) -> Array:
    low = 1 if fill.kind in ("positive", "nonzero") else 0 if tensor.dtype.startswith("u") else -9
    values = rng.integers(low, 10, tensor.shape)
    if fill.kind == "nonzero" and not tensor.dtype.startswith("u"):
        values = np.where(rng.random(tensor.shape) < 0.5, -values, values)
    return np.asarray(values)


def _draw_index(tensor: TensorArg, fill: Fill, rng: np.random.Generator) -> Array:
    if fill.high <= fill.low:
        raise ValueError(f"no valid index: the range [{fill.low}, {fill.high}) is empty")
    if fill.kind == "index":
        return np.asarray(rng.integers(fill.low, fill.high, tensor.shape))
    if fill.high < tensor.size:
        raise ValueError(f"{tensor.size} distinct indices do not fit in [0, {fill.high})")
    return rng.permutation(fill.high)[: tensor.size].reshape(tensor.shape)


def _draw_nearly(tensor: TensorArg, value: bool, rng: np.random.Generator) -> Array:
    values = np.full(tensor.shape, value)
    if tensor.size and rng.random() < 0.5:
        values.flat[rng.integers(tensor.size)] = not value
    return values
