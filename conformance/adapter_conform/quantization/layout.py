"""Integers of our own choice in the layout of the device.

How quantized weights lie in memory is the device's business: only its ``weight_quantize`` knows. That takes floating
weights and makes the largest magnitude of each group the largest integer, so integers chosen otherwise (GPTQ) have to
be led past it: they are handed over as if they were weights, once with the first number of each group set to the
largest and once with the second. Either call then has one number of a group wrong, and where both differ the right one
is the one that is not the largest. This holds for every layout that gives each number bits of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adapter_conform.quantization.integers import BOUNDS, IntegerWeight, group_length
from adapter_conform.releases import weight_dequantize

__all__ = ["ALGORITHMS", "ARCH", "on_device"]

ARCH = 80
"""Paddle checks it against its list of NVIDIA architectures; other devices ignore it."""

ALGORITHMS = {8: "weight_only_int8", 4: "weight_only_int4"}
"""Bits -> what Paddle calls it."""


def on_device(paddle: Any, weight: IntegerWeight, dtype: str) -> tuple[Any, Any]:
    """``weight`` as ``weight_only_linear`` takes it: integers and scales on the device, scales in ``dtype``.

    Raises:
        RuntimeError: the device gives other numbers back than it was sent.
    """
    length = group_length(weight.group, len(weight.numbers))
    if length < 2:
        raise ValueError("a group needs at least two numbers")
    bound = BOUNDS[weight.bits]
    firsts, seconds = (weight.numbers.astype(np.float32) for _ in range(2))
    firsts[::length] = bound
    starts = np.arange(1, len(weight.numbers), length)
    seconds[starts] = bound
    largest = np.full_like(firsts, bound)
    first, second, all_largest = (_codes(paddle, rows, weight, dtype) for rows in (firsts, seconds, largest))
    codes = np.where(first != all_largest, first, second)
    tensor = paddle.to_tensor(_joined(codes, weight.bits))
    scales = weight.scales[0] if weight.group == -1 else weight.scales
    on_board = paddle.to_tensor(np.ascontiguousarray(scales)).astype(dtype)
    _require_numbers(paddle, tensor, weight)
    return tensor, on_board


def _codes(paddle: Any, rows: Any, weight: IntegerWeight, dtype: str) -> Any:
    """The bits of each number as the device lays them out: [..., numbers of a byte]."""
    out, _ = paddle.nn.quant.weight_quantize(
        paddle.to_tensor(rows).astype(dtype), ALGORITHMS[weight.bits], ARCH, weight.group
    )
    raw = np.asarray(out.numpy()).view(np.uint8)
    return raw[..., None] if weight.bits == 8 else np.stack([raw & 15, raw >> 4], axis=-1)


def _joined(codes: Any, bits: int) -> Any:
    whole = codes[..., 0] if bits == 8 else codes[..., 0] | codes[..., 1] << 4
    return np.ascontiguousarray(whole).view(np.int8)


def _require_numbers(paddle: Any, tensor: Any, weight: IntegerWeight) -> None:
    ones = paddle.ones(weight.scales.shape if weight.group != -1 else weight.scales.shape[1:], "float16")
    back = weight_dequantize(paddle, tensor, ones, ALGORITHMS[weight.bits], weight.group)
    wrong = int(np.count_nonzero(np.asarray(back.astype("float32").numpy()) != weight.numbers))
    if wrong:
        raise RuntimeError(f"{wrong} of {weight.numbers.size} integers of a weight came back from the device changed")
