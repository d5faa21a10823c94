"""The decoder by definition, in float64: logits of a whole text, computed anew. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.models.weights import Weights
from adapter_conform.serving.decoder import linear_weights
from adapter_conform.serving.shape import DecoderShape

__all__ = ["oracle_logits"]

Array = NDArray[Any]
Products = Mapping[str, Callable[[Array], Array]]


def oracle_logits(
    shape: DecoderShape, weights: Weights, tokens: Sequence[int], products: Products | None = None
) -> NDArray[np.float64]:
    """[tokens, vocabulary]. ``products`` replaces the products of linear layers, by name; biases are added after."""
    products = products or {}
    layers = linear_weights(shape, weights)
    norms = {name: array.astype(np.float64) for name, array in weights.items() if "norm" in name}

    def linear(name: str, x: Array) -> Array:
        weight, bias = layers[name]
        y = products[name](x) if name in products else x @ weight.astype(np.float64)
        return y if bias is None else y + bias

    x = weights["model.embed_tokens.weight"].astype(np.float64)[list(tokens)]
    for i in range(shape.layers):
        prefix = f"model.layers.{i}."
        qkv = linear(f"{i}.qkv", _norm(x, norms[prefix + "input_layernorm.weight"], shape))
        x = x + linear(f"{i}.out", _attention(qkv, shape))
        inner = linear(f"{i}.gate_up", _norm(x, norms[prefix + "post_attention_layernorm.weight"], shape))
        gate, up = np.split(inner, 2, axis=-1)
        x = x + linear(f"{i}.down", gate / (1 + np.exp(-gate)) * up)
    return np.asarray(_norm(x, norms["model.norm.weight"], shape) @ weights["lm_head.weight"].T.astype(np.float64))


def _norm(x: Array, weight: Array, shape: DecoderShape) -> Array:
    return np.asarray(x / np.sqrt((x * x).mean(-1, keepdims=True) + shape.norm_epsilon) * weight)


def _attention(qkv: Array, shape: DecoderShape) -> Array:
    n, size, group = len(qkv), shape.head_size, shape.heads // shape.key_value_heads
    parts = qkv.reshape(n, -1, size)
    turned = _rotated(parts[:, : shape.heads + shape.key_value_heads], shape)
    q = turned[:, : shape.heads]
    k = np.repeat(turned[:, shape.heads :], group, axis=1)
    v = np.repeat(parts[:, shape.heads + shape.key_value_heads :], group, axis=1)
    scores = np.einsum("mhd,nhd->hmn", q, k) / np.sqrt(size)
    scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
    power = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(np.einsum("hmn,nhd->mhd", power / power.sum(-1, keepdims=True), v).reshape(n, -1))


def _rotated(x: Array, shape: DecoderShape) -> Array:
    """Halves turned by position / theta^(2i / size)."""
    half = shape.head_size // 2
    angles = np.arange(len(x))[:, None] * shape.rope_theta ** (-np.arange(half) / half)
    cosines, sines = np.cos(angles)[:, None], np.sin(angles)[:, None]
    left, right = x[..., :half], x[..., half:]
    return np.concatenate([left * cosines - right * sines, right * cosines + left * sines], axis=-1)
