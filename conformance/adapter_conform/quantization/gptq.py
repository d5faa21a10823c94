"""GPTQ: weights are rounded one input feature after the other, and each one's error is made good by those that follow
(Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, 2022). NumPy
only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.quantization.integers import BOUNDS, IntegerWeight, group_length

__all__ = ["gptq"]

Array = NDArray[Any]


def gptq(
    weight: Array, inputs: Array, bits: int = 4, group: int = -1, damping: float = 0.01, scale_dtype: Any = np.float32
) -> IntegerWeight:
    """Integers for ``weight`` [in, out] that keep ``inputs @ weight`` for calibration rows ``inputs`` [rows, in].

    Args:
        damping: added to the diagonal of the Hessian, as a share of its mean.
        scale_dtype: what the device keeps scales in; numbers are chosen for the rounded scales.

    Raises:
        ValueError: the shapes do not fit.
    """
    if inputs.ndim != 2 or inputs.shape[1] != len(weight) or not len(inputs):
        raise ValueError(f"calibration rows {inputs.shape} do not meet a weight {weight.shape}")
    bound, length = BOUNDS[bits], group_length(group, len(weight))
    left = weight.astype(np.float64)
    upper = _inverse_factor(inputs.astype(np.float64), damping)
    numbers = np.zeros(weight.shape, np.int8)
    scales = []
    for i in range(len(left)):
        if i % length == 0:
            peaks = np.abs(left[i : i + length]).max(axis=0)
            scales.append((peaks / bound).astype(np.float32).astype(scale_dtype).astype(np.float32))
        scale = scales[-1].astype(np.float64)
        units = np.divide(left[i], scale, out=np.zeros_like(left[i]), where=scale > 0)
        numbers[i] = np.rint(units).clip(-bound, bound).astype(np.int8)
        error = (left[i] - numbers[i] * scale) / upper[i, i]
        left[i + 1 :] -= np.outer(upper[i, i + 1 :], error)
    return IntegerWeight(numbers, np.stack(scales), bits, group)


def _inverse_factor(inputs: Array, damping: float) -> Array:
    """Upper Cholesky factor of the inverse Hessian; a feature that is always zero decides nothing."""
    hessian = inputs.T @ inputs
    diagonal = np.einsum("ii->i", hessian)
    mean = float(diagonal.mean()) or 1.0
    diagonal[diagonal == 0] = mean
    diagonal += damping * mean
    factor: Array = np.linalg.cholesky(np.linalg.inv(hessian)).T
    return factor
