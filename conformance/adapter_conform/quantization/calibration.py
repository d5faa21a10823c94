"""What an int8 activation stands for, decided on calibration rows. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.quantization.integers import BOUNDS, IntegerWeight, quantized

__all__ = ["OBSERVERS", "QuantizedProduct", "calibrated"]

Array = NDArray[Any]

OBSERVERS = ("absmax", "percentile", "smooth")

_PERCENTILE = 99.9
_STRENGTH = 0.5
"""Of the migration: 0 leaves the outliers to the activations, 1 moves them into the weights."""


@dataclass(frozen=True)
class QuantizedProduct:
    """y = sum(floor(127 x / ranges + 1/2) * numbers) * scale * weight.scales, with 127 x / ranges cut at +-127."""

    weight: IntegerWeight
    ranges: Array
    """What 127 stands for in each feature of x: [in], or [1]."""
    scale: float

    def __call__(self, x: Array) -> Array:
        """The product by definition, in float64: [rows, out]."""
        bound = BOUNDS[8]
        units = (np.asarray(x, np.float32) * (bound / self.ranges.astype(np.float32))).clip(-bound, bound)
        numbers = np.floor(units + np.float32(0.5))
        sums = numbers.astype(np.int64) @ self.weight.numbers.astype(np.int64)
        return np.asarray(sums * (self.scale * self.weight.scales[0].astype(np.float64)))


def calibrated(weight: Array, inputs: Array, observer: str) -> QuantizedProduct:
    """int8 for a weight [in, out] and for rows that are like ``inputs`` [rows, in].

    ``absmax``: 127 is the largest number seen. ``percentile``: 99.9% of the numbers seen are within. ``smooth``: each
    feature is divided, and its row of the weight multiplied, by the factor that evens out their largest magnitudes
    (Xiao et al., SmoothQuant, 2022, equation 4), then as absmax.

    Raises:
        ValueError: there is no such observer, or nothing but zeros was seen.
    """
    if observer not in OBSERVERS:
        raise ValueError(f"observer {observer!r}: there are {', '.join(OBSERVERS)}")
    sizes = np.abs(inputs.astype(np.float64))
    if not sizes.size or sizes.max() == 0:
        raise ValueError("calibration rows are empty or zero: run the model on prompts first")
    factors = _migration(sizes, weight) if observer == "smooth" else np.ones(1)
    share = 100.0 if observer != "percentile" else _PERCENTILE
    reach = float(np.percentile(sizes / factors, share))
    reach = reach or float(sizes.max())
    moved = weight * (factors[:, None] if factors.size > 1 else 1.0)
    return QuantizedProduct(quantized(moved.astype(np.float32), 8), factors * reach, reach / BOUNDS[8])


def _migration(sizes: Array, weight: Array) -> Array:
    active, passive = sizes.max(axis=0), np.abs(weight.astype(np.float64)).max(axis=1)
    factors = np.ones(len(active))
    used = (active > 0) & (passive > 0)
    factors[used] = active[used] ** _STRENGTH / passive[used] ** (1 - _STRENGTH)
    return factors
