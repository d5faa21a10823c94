"""Arrays to Paddle tensors and back; bfloat16 travels as ml_dtypes on our side and as uint16 on Paddle's."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

__all__ = ["dtype_name", "from_tensor", "to_tensor"]

Array = npt.NDArray[Any]


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
