"""The decoder that is served: LLaMA's family, apart from any framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapter_conform.models.shape import Decoder
from adapter_conform.models.weights import Weights, llama_weights

__all__ = ["DecoderShape", "drawn_weights", "require_weights"]

_BIASED = {"llama": False, "qwen2": True}
"""Architecture -> whether queries, keys and values have biases."""

_BIAS_SPREAD = 0.02


@dataclass(frozen=True)
class DecoderShape(Decoder):
    """A decoder that is served, prompt and answer together within its positions. The defaults make a small proxy."""

    vocabulary: int = 288
    positions: int = 512
    qkv_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_size % 2:
            raise ValueError(f"heads of {self.head_size} numbers cannot be rotated in pairs")

    @property
    def qkv_width(self) -> int:
        """Numbers of a row that holds queries, keys and values."""
        return (self.heads + 2 * self.key_value_heads) * self.head_size

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], architecture: str) -> DecoderShape:
        """From a configuration with Hugging Face's names.

        Raises:
            ValueError: the architecture is none that is served, or a setting is missing.
        """
        if architecture not in _BIASED:
            raise ValueError(f"architecture {architecture!r} is not served; served are {', '.join(_BIASED)}")
        try:
            return cls(
                vocabulary=int(settings["vocab_size"]),
                hidden=int(settings["hidden_size"]),
                intermediate=int(settings["intermediate_size"]),
                layers=int(settings["num_hidden_layers"]),
                heads=int(settings["num_attention_heads"]),
                key_value_heads=int(settings.get("num_key_value_heads", settings["num_attention_heads"])),
                positions=int(settings["max_position_embeddings"]),
                norm_epsilon=float(settings.get("rms_norm_eps", 1e-6)),
                rope_theta=float(settings.get("rope_theta", 10000.0)),
                qkv_bias=_BIASED[architecture],
            )
        except KeyError as missing:
            raise ValueError(f"the configuration has no {missing}") from missing

    def settings(self) -> dict[str, Any]:
        """The inverse of :meth:`from_settings`, as PaddleNLP takes it."""
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "max_position_embeddings": self.positions,
            "rms_norm_eps": self.norm_epsilon,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": False,
        }


def drawn_weights(shape: DecoderShape, seed: int) -> Weights:
    """Weights drawn by :func:`models.weights.llama_weights`, and biases where the shape has them."""
    weights = llama_weights(shape, seed)
    if shape.qkv_bias:
        draw = np.random.RandomState(seed + 1)
        for name, size in _expected(shape).items():
            if name.endswith("_proj.bias"):
                weights[name] = (draw.standard_normal(size) * _BIAS_SPREAD).astype(np.float32)
    return weights


def require_weights(shape: DecoderShape, weights: Weights) -> None:
    """Raises ValueError, with every fault, unless ``weights`` are those of a model of ``shape``."""
    expected = _expected(shape)
    faults = [f"{name} is missing" for name in sorted(expected.keys() - weights.keys())]
    faults += [f"{name} is unknown" for name in sorted(weights.keys() - expected.keys())]
    for name in sorted(expected.keys() & weights.keys()):
        if weights[name].shape != expected[name]:
            faults.append(f"{name} is {list(weights[name].shape)}, not {list(expected[name])}")
    if faults:
        more = f"\n  and {len(faults) - 12} more" if len(faults) > 12 else ""
        raise ValueError("the weights do not fit the model:\n  " + "\n  ".join(faults[:12]) + more)


def _expected(shape: DecoderShape) -> dict[str, tuple[int, ...]]:
    """Name -> shape, with Hugging Face's names; a linear layer's weight is [out, in]."""
    wide, narrow = shape.hidden, shape.key_value_heads * shape.head_size
    sides = {"q": wide, "k": narrow, "v": narrow}
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocabulary, wide)}
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        for part, size in sides.items():
            found[f"{prefix}self_attn.{part}_proj.weight"] = (size, wide)
            if shape.qkv_bias:
                found[f"{prefix}self_attn.{part}_proj.bias"] = (size,)
        found[f"{prefix}self_attn.o_proj.weight"] = (wide, wide)
        found[f"{prefix}mlp.gate_proj.weight"] = (shape.intermediate, wide)
        found[f"{prefix}mlp.up_proj.weight"] = (shape.intermediate, wide)
        found[f"{prefix}mlp.down_proj.weight"] = (wide, shape.intermediate)
        found[f"{prefix}input_layernorm.weight"] = (wide,)
        found[f"{prefix}post_attention_layernorm.weight"] = (wide,)
    found["model.norm.weight"] = (wide,)
    found["lm_head.weight"] = (shape.vocabulary, wide)
    return found
