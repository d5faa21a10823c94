"""Linear layers on a device, y = x W + b: whole, with integers for weights, and int8 times int8."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adapter_conform.quantization.integers import BOUNDS, IntegerWeight
from adapter_conform.quantization.layout import ARCH, on_device

__all__ = ["Dense", "Int8", "Linear", "WeightOnly"]

Array = NDArray[Any]


class Linear(Protocol):
    """Takes and gives rows [tokens, in] and [tokens, out] in the dtype of the model."""

    def __call__(self, x: Any) -> Any: ...

    @property
    def kernel(self) -> str:
        """The product that has to run, as kernel calls are counted: ``"matmul/int8"``."""

    @property
    def weight_bytes(self) -> int:
        """Of weight and scales on the device; a bias is not counted."""


def _nbytes(*tensors: Any) -> int:
    return sum(int(tensor.size) * int(tensor.element_size()) for tensor in tensors)


def _on_board(paddle: Any, array: Array | None, dtype: str) -> Any:
    return None if array is None else paddle.to_tensor(np.ascontiguousarray(array)).astype(dtype)


class Dense:
    """A product in the dtype of the model."""

    def __init__(self, paddle: Any, weight: Array, bias: Array | None, dtype: str) -> None:
        self._matmul = paddle.matmul
        self._weight, self._bias = _on_board(paddle, weight, dtype), _on_board(paddle, bias, dtype)
        self.kernel = f"matmul/{dtype}"

    def __call__(self, x: Any) -> Any:
        y = self._matmul(x, self._weight)
        return y if self._bias is None else y + self._bias

    @property
    def weight_bytes(self) -> int:
        return _nbytes(self._weight)


class WeightOnly:
    """Integers for weights; activations and sums as they were."""

    def __init__(self, paddle: Any, weight: IntegerWeight, bias: Array | None, dtype: str) -> None:
        self._linear = paddle.nn.quant.weight_only_linear
        self._weight, self._scales = on_device(paddle, weight, dtype)
        self._bias = _on_board(paddle, bias, dtype)
        self._kind, self._group = f"int{weight.bits}", weight.group
        self.kernel = f"weight_only_linear/{dtype}"

    def __call__(self, x: Any) -> Any:
        return self._linear(x, self._weight, self._bias, self._scales, self._kind, ARCH, self._group)

    @property
    def weight_bytes(self) -> int:
        return _nbytes(self._weight, self._scales)


class Int8:
    """int8 activations times int8 weights, summed in int32.

    Args:
        weight: [in, out], 8 bits, one scale a channel.
        ranges: what 127 stands for in each of the ``in`` features of x: [in], or a single number for all. Where
            features have ranges of their own, those were multiplied into the weight before it was quantized.
        scale: what a unit of a quantized feature stands for in the weight's terms; the common range over 127.
    """

    def __init__(
        self, paddle: Any, weight: IntegerWeight, bias: Array | None, dtype: str, ranges: Array, scale: float
    ) -> None:
        if weight.bits != 8 or weight.group != -1:
            raise ValueError("int8 times int8 takes 8 bits and one scale a channel")
        self._paddle, self._dtype = paddle, dtype
        self._weight = paddle.to_tensor(np.ascontiguousarray(weight.numbers.T))
        self._units = _on_board(paddle, (BOUNDS[8] / np.asarray(ranges, np.float32)).reshape(1, -1), "float32")
        self._scales = _on_board(paddle, weight.scales[0] * np.float32(scale), "float32")
        self._bias = _on_board(paddle, bias, dtype)
        self.kernel = "matmul/int8"

    def __call__(self, x: Any) -> Any:
        paddle = self._paddle
        numbers = paddle.clip(paddle.round(x.astype("float32") * self._units), -127.0, 127.0).astype("int8")
        sums = paddle.matmul(numbers, self._weight, transpose_y=True)
        y = (sums.astype("float32") * self._scales).astype(self._dtype)
        return y if self._bias is None else y + self._bias

    @property
    def weight_bytes(self) -> int:
        return _nbytes(self._weight, self._scales, self._units)
