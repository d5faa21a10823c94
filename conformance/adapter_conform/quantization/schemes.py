"""The ways to run a model's linear layers, by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapter_conform.models.weights import Weights
from adapter_conform.quantization.integers import quantized
from adapter_conform.quantization.linears import WeightOnly
from adapter_conform.serving.decoder import MakeLinear, dense
from adapter_conform.serving.shape import DecoderShape

__all__ = ["SCHEMES", "linears_of"]

SCHEMES = ("none", "int8")


def linears_of(scheme: str, paddle: Any, shape: DecoderShape, weights: Weights, dtype: str) -> MakeLinear:
    """What builds the linear layers of ``scheme``.

    Raises:
        ValueError: there is no such scheme.
    """
    if scheme == "none":
        return dense(paddle, dtype)
    return lambda _name, weight, bias: WeightOnly(paddle, quantized(np.asarray(weight), 8), bias, dtype)
