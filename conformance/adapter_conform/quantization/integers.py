"""Symmetric integers with scales, by definition: W[k, n] is about number[k, n] * scale[group(k), n]. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOUNDS", "IntegerWeight", "dequantized", "group_length", "quantized"]

BOUNDS = {8: 127, 4: 7}
"""Bits -> largest magnitude. The most negative number is not used, so that zero is in the middle."""

Array = NDArray[Any]


@dataclass(frozen=True)
class IntegerWeight:
    """A linear layer's weight [in, out] as integers."""

    numbers: NDArray[np.int8]
    """[in, out], also for 4 bits"""
    scales: NDArray[np.float32]
    """[groups, out]"""
    bits: int
    group: int
    """Numbers of a channel that share a scale; -1: all."""

    @property
    def packed_bytes(self) -> int:
        """Bytes of the numbers alone on a device."""
        return self.numbers.size * self.bits // 8


def group_length(group: int, length: int) -> int:
    """Numbers that share a scale.

    Raises:
        ValueError: the group is none that Paddle's weight_quantize knows.
    """
    if group not in (-1, 64, 128):
        raise ValueError(f"a group of {group}: there are 64, 128 and -1 (the whole channel)")
    return length if group == -1 else group


def quantized(weight: Array, bits: int, group: int = -1, scale_dtype: Any = np.float32) -> IntegerWeight:
    """The largest magnitude of a group becomes the largest integer; halves round away from zero. ``scale_dtype``: what
    the device keeps scales in."""
    bound = BOUNDS[bits]
    length = group_length(group, len(weight))
    starts = np.arange(0, len(weight), length)
    peaks = np.maximum.reduceat(np.abs(weight.astype(np.float32)), starts, axis=0)
    scales = (peaks / np.float32(bound)).astype(scale_dtype).astype(np.float32)
    spread = np.repeat(peaks, length, axis=0)[: len(weight)]
    units = np.divide(weight, spread, out=np.zeros(weight.shape, np.float32), where=spread > 0) * bound
    numbers = np.trunc(units + np.copysign(0.5, units)).clip(-bound, bound).astype(np.int8)
    return IntegerWeight(numbers, scales, bits, group)


def dequantized(weight: IntegerWeight) -> NDArray[np.float64]:
    length = group_length(weight.group, len(weight.numbers))
    spread = np.repeat(weight.scales.astype(np.float64), length, axis=0)[: len(weight.numbers)]
    return np.asarray(weight.numbers * spread)
