"""Linear layers on a device, y = x W + b: whole, with integers for weights, and int8 times int8."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adapter_conform.quantization.calibration import QuantizedProduct
from adapter_conform.quantization.integers import BOUNDS, IntegerWeight
from adapter_conform.quantization.layout import ALGORITHMS, ARCH, on_device

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
    """Integers for weights; activations and sums as they were. ``weight`` and ``scales`` are on the device, in its
    layout."""

    def __init__(
        self, paddle: Any, weight: Any, scales: Any, bias: Array | None, dtype: str, bits: int, group: int
    ) -> None:
        self._linear = paddle.nn.quant.weight_only_linear
        self._weight, self._scales = weight, scales
        self._bias = _on_board(paddle, bias, dtype)
        self._kind, self._group = f"int{bits}", group
        self.kernel = f"weight_only_linear/{dtype}"

    @classmethod
    def by_device(
        cls, paddle: Any, weight: Array, bias: Array | None, dtype: str, bits: int, group: int = -1
    ) -> WeightOnly:
        """``weight`` [in, out] quantized by the device itself."""
        numbers, scales = paddle.nn.quant.weight_quantize(
            _on_board(paddle, weight, dtype), ALGORITHMS[bits], ARCH, group
        )
        return cls(paddle, numbers, scales.astype(dtype), bias, dtype, bits, group)

    @classmethod
    def of_integers(cls, paddle: Any, weight: IntegerWeight, bias: Array | None, dtype: str) -> WeightOnly:
        """Integers that were chosen elsewhere."""
        numbers, scales = on_device(paddle, weight, dtype)
        return cls(paddle, numbers, scales, bias, dtype, weight.bits, weight.group)

    def __call__(self, x: Any) -> Any:
        return self._linear(x, self._weight, self._bias, self._scales, self._kind, ARCH, self._group)

    @property
    def weight_bytes(self) -> int:
        return _nbytes(self._weight, self._scales)


class Int8:
    """int8 activations times int8 weights, summed in int32."""

    def __init__(self, paddle: Any, product: QuantizedProduct, bias: Array | None, dtype: str) -> None:
        weight = product.weight
        if weight.bits != 8 or weight.group != -1:
            raise ValueError("int8 times int8 takes 8 bits and one scale a channel")
        self._paddle, self._dtype = paddle, dtype
        self._weight = paddle.to_tensor(np.ascontiguousarray(weight.numbers.T))
        self._units = _on_board(paddle, BOUNDS[8] / product.ranges.astype(np.float32).reshape(1, -1), "float32")
        self._scales = _on_board(paddle, weight.scales[0] * np.float32(product.scale), "float32")
        self._bias = _on_board(paddle, bias, dtype)
        self.kernel = "matmul/int8"

    def __call__(self, x: Any) -> Any:
        paddle = self._paddle
        units = paddle.clip(x.astype("float32") * self._units, -BOUNDS[8], BOUNDS[8])
        numbers = paddle.floor(units + 0.5).astype("int8")
        sums = paddle.matmul(numbers, self._weight, transpose_y=True)
        y = (sums.astype("float32") * self._scales).astype(self._dtype)
        return y if self._bias is None else y + self._bias

    @property
    def weight_bytes(self) -> int:
        return _nbytes(self._weight, self._scales, self._units)
