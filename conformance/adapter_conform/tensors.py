"""Arrays to Paddle tensors and back; bfloat16 travels as ml_dtypes on our side and as uint16 on Paddle's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

__all__ = ["LAYOUTS", "Placed", "dtype_name", "from_tensor", "place", "to_tensor"]

Array = npt.NDArray[Any]

LAYOUTS = ("plain", "fenced", "misaligned", "transposed", "sliced", "overlapping")
"""How an input lies in device memory; see :func:`place`."""

FENCE_BYTES = 64


def to_tensor(paddle: Any, array: Array) -> Any:
    """A tensor on Paddle's current device."""
    host = np.ascontiguousarray(array).reshape(array.shape)
    if host.dtype == ml_dtypes.bfloat16:
        host = host.view(np.uint16)  # Paddle takes uint16 arrays for bfloat16
    return paddle.to_tensor(host)


def dtype_name(tensor: Any) -> str:
    """``"float32"`` for ``paddle.float32``."""
    return str(tensor.dtype).rsplit(".", 1)[-1]


def from_tensor(tensor: Any) -> Array:
    """A copy of the tensor on the host."""
    array = np.asarray(tensor.numpy())
    return array.view(ml_dtypes.bfloat16) if dtype_name(tensor) == "bfloat16" else array


@dataclass(frozen=True)
class Placed:
    """An input on the device: a view of ``base``, whose other elements nobody may touch."""

    tensor: Any
    base: Any
    before: Array
    """What was copied into ``base``."""
    inside: Array
    """Where in ``base`` the input's own elements lie."""


def place(paddle: Any, array: Array, layout: str) -> Placed:
    """Puts ``array`` on Paddle's current device.

    Layouts: ``plain``, a tensor of its own; ``fenced``, between two fences of 64 bytes in a larger buffer;
    ``misaligned``, the same but off by one element; ``transposed``, stored with its axes reversed; ``sliced``, each row
    of the last axis between fence elements; ``overlapping``, every slice along the first axis in the same memory (the
    slices must be equal). Fences hold NaN, or the largest number of an integer dtype: what a kernel reads beyond its
    input shows in the result. Where a layout makes no sense for ``array``, it is fenced; an empty one lies plain.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if layout == "plain" or not array.size:
        return _whole(paddle, array)
    if layout == "transposed" and array.ndim >= 2:
        placed = _whole(paddle, array.T)
        return Placed(placed.base.transpose(list(range(array.ndim))[::-1]), placed.base, placed.before, placed.inside)
    if layout == "sliced" and array.ndim >= 1:
        return _sliced(paddle, array)
    if layout == "overlapping" and array.ndim >= 1 and array.shape[0] > 1 and _repeats(array):
        placed = _whole(paddle, array[0])
        strides = [int(stride) // array.itemsize for stride in np.ascontiguousarray(array).strides]
        tensor = paddle.as_strided(placed.base, list(array.shape), [0, *strides[1:]])
        return Placed(tensor, placed.base, placed.before, placed.inside)
    return _fenced(paddle, array, 1 if layout == "misaligned" else 0)


def _whole(paddle: Any, array: Array) -> Placed:
    tensor = to_tensor(paddle, array)
    return Placed(tensor, tensor, array, np.ones(array.shape, bool))


def _fenced(paddle: Any, array: Array, shift: int) -> Placed:
    border = max(FENCE_BYTES // array.itemsize, 1) + shift
    before = _fences((array.size + 2 * border,), array.dtype)
    inside = np.zeros(before.shape, bool)
    inside[border : border + array.size] = True
    before[inside] = array.reshape(-1)
    base = to_tensor(paddle, before)
    return Placed(base[border : border + array.size].reshape(list(array.shape)), base, before, inside)


def _sliced(paddle: Any, array: Array) -> Placed:
    before = _fences((*array.shape[:-1], array.shape[-1] + 2), array.dtype)
    inside = np.zeros(before.shape, bool)
    inside[..., 1:-1] = True
    before[..., 1:-1] = array
    base = to_tensor(paddle, before)
    return Placed(base[..., 1 : array.shape[-1] + 1], base, before, inside)


def _fences(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if dtype == np.bool_:
        return np.ones(shape, bool)
    if dtype.kind in "iu":
        return np.full(shape, np.iinfo(dtype).max, dtype)
    return np.full(shape, np.nan, dtype)


def _repeats(array: Array) -> bool:
    first = np.ascontiguousarray(array[:1]).tobytes()
    return all(np.ascontiguousarray(array[i : i + 1]).tobytes() == first for i in range(1, array.shape[0]))
