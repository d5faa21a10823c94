"""The ways to run a model's linear layers, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from adapter_conform.models.weights import Weights
from adapter_conform.quantization.calibration import calibrated
from adapter_conform.quantization.gptq import gptq
from adapter_conform.quantization.linears import Int8, WeightOnly
from adapter_conform.serving.decoder import MakeLinear, dense
from adapter_conform.serving.forced import record_inputs
from adapter_conform.serving.shape import DecoderShape

__all__ = ["SCHEMES", "calibration_texts", "linears_of", "numpy_dtype"]

_GROUPS = {"": -1, "-g64": 64, "-g128": 128}
_WEIGHT_ONLY = {f"int{bits}{suffix}": (bits, group) for bits in (8, 4) for suffix, group in _GROUPS.items()}
_GPTQ = {f"gptq4{suffix}": group for suffix, group in _GROUPS.items()}
_A8W8 = {"a8w8": "absmax", "a8w8-percentile": "percentile", "a8w8-smooth": "smooth"}

SCHEMES = ("none", *_WEIGHT_ONLY, *_GPTQ, *_A8W8)
"""none: products in the model's dtype. int8, int4: integers for weights, by the device's weight_quantize. gptq4: 4 bits
chosen by GPTQ. a8w8: int8 times int8, activations calibrated. -g64, -g128: so many numbers share a scale; else a
channel does."""

Texts = Sequence[Sequence[int]]


def numpy_dtype(dtype: str) -> Any:
    return ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)


def calibration_texts(shape: DecoderShape, seed: int = 0, texts: int = 8, length: int = 64) -> list[list[int]]:
    """Random tokens, for a model that was never trained on any."""
    random = np.random.RandomState(seed)
    size = (texts, min(length, shape.positions))
    drawn: list[list[int]] = random.randint(3, shape.vocabulary, size).tolist()
    return drawn


def linears_of(
    scheme: str, paddle: Any, shape: DecoderShape, weights: Weights, dtype: str, texts: Texts | None = None
) -> MakeLinear:
    """What builds the linear layers of ``scheme``.

    Args:
        texts: to calibrate with; by default :func:`calibration_texts`.

    Raises:
        ValueError: there is no such scheme.
    """
    if scheme == "none":
        return dense(paddle, dtype)
    if scheme in _WEIGHT_ONLY:
        bits, group = _WEIGHT_ONLY[scheme]
        return lambda _name, weight, bias: WeightOnly.by_device(paddle, weight, bias, dtype, bits, group)
    if scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r}: there are {', '.join(SCHEMES)}")
    seen = record_inputs(paddle, shape, weights, texts or calibration_texts(shape))

    def make(name: str, weight: Any, bias: Any) -> WeightOnly | Int8:
        if scheme in _GPTQ:
            chosen = gptq(weight, seen[name], 4, _GPTQ[scheme], scale_dtype=numpy_dtype(dtype))
            return WeightOnly.of_integers(paddle, chosen, bias, dtype)
        return Int8(paddle, calibrated(weight, seen[name], _A8W8[scheme]), bias, dtype)

    return make
