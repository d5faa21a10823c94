"""What a matrix product of the device reaches, against the peak that its plugin declares."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["Peak", "measure_peak"]

_FIRST, _LARGEST = 256, 16384
_WARM_UP, _REPEATS = 1, 5
_SECONDS = 0.05
"""A product that takes this long is large enough: a larger one would not be computed any faster."""


@dataclass(frozen=True)
class Peak:
    """Square matrix products in one dtype, the largest size that was tried."""

    dtype: str
    size: int
    seconds: tuple[float, ...]
    """Of each product, the device synchronised at its end."""
    best_tflops: float
    median_tflops: float


def measure_peak(session: Session, dtype: str) -> Peak:
    """Doubles the size of a square product until it takes long enough; the best speed of all sizes counts.

    A product of size n takes 2 n^3 floating point operations.
    """
    size, best = _FIRST, 0.0
    while True:
        seconds = _timed(session, size, dtype)
        speeds = [2.0 * size**3 / second / 1e12 for second in seconds]
        best = max(best, *speeds)
        if min(seconds) > _SECONDS or size >= _LARGEST:
            return Peak(dtype, size, tuple(seconds), best, statistics.median(speeds))
        size *= 2


def _timed(session: Session, size: int, dtype: str) -> list[float]:
    paddle = session.paddle
    draw = np.random.RandomState(0)
    left, right = (
        paddle.to_tensor(draw.standard_normal((size, size)).astype(np.float32)).astype(dtype) for _ in range(2)
    )
    seconds = []
    for turn in range(_WARM_UP + _REPEATS):
        paddle.device.synchronize(session.device)
        start = time.perf_counter()
        product = paddle.matmul(left, right)
        paddle.device.synchronize(session.device)
        if turn >= _WARM_UP:
            seconds.append(time.perf_counter() - start)
        del product
    return seconds
