"""Calls that Paddle's releases want written differently."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["weight_dequantize"]


def weight_dequantize(paddle: Any, numbers: Any, scale: Any, algo: str, group_size: int) -> Any:
    """``paddle.nn.quant.weight_dequantize`` with a result in the dtype of ``scale``, float16 or bfloat16.

    Up to 3.3.0 it takes that dtype as an argument, float16 unless told otherwise, and 3.0 goes by it; then it has none.
    """
    function = paddle.nn.quant.weight_dequantize
    name = str(scale.dtype).rpartition(".")[2].lower()  # paddle.float16, or DataType.FLOAT16 in a graph
    told = {"out_dtype": name} if "out_dtype" in inspect.signature(function).parameters else {}
    return function(numbers, scale, algo, group_size=group_size, **told)
