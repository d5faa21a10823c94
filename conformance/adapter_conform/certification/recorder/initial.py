"""Initial weights, drawn with NumPy, named and laid out as Hugging Face does: a linear layer's weight is [out, in].

Every value is one that float16 holds exactly, so that a pack stores it in half the room. NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.recipes import Recipe

__all__ = ["ADAPTED", "Weights", "adapter_weights", "initial_weights"]

Weights = dict[str, NDArray[np.float32]]

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers that LoRA adapts."""

_SPREAD = 0.02
"""Standard deviation of matrices and biases."""
_ROUTER_SPREAD = 0.1
"""Larger, so that few tokens stand on the border between two experts, where rounding would decide."""


class _Draw:
    """One stream of numbers; ``RandomState``, whose streams are frozen by NumPy's policy."""

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed)

    def normal(self, *shape: int, spread: float = _SPREAD) -> NDArray[np.float32]:
        return _storable(self._state.standard_normal(shape) * spread)

    def uniform(self, limit: float, *shape: int) -> NDArray[np.float32]:
        return _storable(self._state.uniform(-limit, limit, shape))


def _storable(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float16).astype(np.float32)


def initial_weights(recipe: Recipe) -> Weights:
    """What a recipe that starts from no other starts from."""
    settings = recipe.settings
    draw = _Draw(recipe.seed + 1)
    if recipe.standard_model.architecture == "gpt3":
        return _gpt(settings, draw)
    return _decoder(settings, recipe.standard_model.architecture, draw)


def adapter_weights(recipe: Recipe, base: Mapping[str, NDArray[np.float32]]) -> Weights:
    """What the task of ``recipe`` adds to the model of ``base``; nothing for tasks that train the model itself.

    LoRA: ``<layer>.lora_A.weight`` [rank, in], uniform within 1/sqrt(in), and ``<layer>.lora_B.weight`` [out, rank],
    zero. Prefix: ``prefix_encoder.weight`` [tokens, 2 * layers * key-value heads * head size], the keys of all layers
    before the values.
    """
    draw = _Draw(recipe.seed + 2)
    if recipe.task == "lora":
        return _low_rank(int(recipe.option("rank")), base, draw)
    if recipe.task == "prefix":
        settings = recipe.settings
        head = settings["hidden_size"] // settings["num_attention_heads"]
        width = 2 * settings["num_hidden_layers"] * settings["num_key_value_heads"] * head
        return {"prefix_encoder.weight": draw.normal(int(recipe.option("tokens")), width)}
    return {}


def _low_rank(rank: int, base: Mapping[str, NDArray[np.float32]], draw: _Draw) -> Weights:
    weights: Weights = {}
    for name in sorted(base):
        layer = name.removesuffix(".weight")
        if layer != name and layer.rsplit(".", 1)[-1] in ADAPTED:
            outputs, inputs = base[name].shape
            weights[layer + ".lora_A.weight"] = draw.uniform(inputs**-0.5, rank, inputs)
            weights[layer + ".lora_B.weight"] = np.zeros((outputs, rank), np.float32)
    return weights


def _ones(size: int) -> NDArray[np.float32]:
    return np.ones(size, np.float32)


def _decoder(settings: Mapping[str, Any], architecture: str, draw: _Draw) -> Weights:
    """LLaMA, Qwen2, Qwen2-MoE, with a head of its own."""
    hidden, vocabulary = settings["hidden_size"], settings["vocab_size"]
    weights = {"model.embed_tokens.weight": draw.normal(vocabulary, hidden)}
    for layer in range(settings["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        weights |= _attention(prefix + "self_attn.", settings, architecture != "llama", draw)
        if architecture == "qwen2_moe":
            weights |= _experts(prefix + "mlp.", settings, draw)
        else:
            weights |= _feed_forward(prefix + "mlp.", hidden, settings["intermediate_size"], draw)
        weights[prefix + "input_layernorm.weight"] = _ones(hidden)
        weights[prefix + "post_attention_layernorm.weight"] = _ones(hidden)
    weights["model.norm.weight"] = _ones(hidden)
    weights["lm_head.weight"] = draw.normal(vocabulary, hidden)
    return weights


def _attention(prefix: str, settings: Mapping[str, Any], biased: bool, draw: _Draw) -> Weights:
    hidden = settings["hidden_size"]
    key_value = hidden // settings["num_attention_heads"] * settings["num_key_value_heads"]
    weights: Weights = {}
    for name, rows in (("q", hidden), ("k", key_value), ("v", key_value)):
        weights[f"{prefix}{name}_proj.weight"] = draw.normal(rows, hidden)
        if biased:
            weights[f"{prefix}{name}_proj.bias"] = draw.normal(rows)
    weights[prefix + "o_proj.weight"] = draw.normal(hidden, hidden)
    return weights


def _feed_forward(prefix: str, hidden: int, inner: int, draw: _Draw) -> Weights:
    return {
        prefix + "gate_proj.weight": draw.normal(inner, hidden),
        prefix + "up_proj.weight": draw.normal(inner, hidden),
        prefix + "down_proj.weight": draw.normal(hidden, inner),
    }


def _experts(prefix: str, settings: Mapping[str, Any], draw: _Draw) -> Weights:
    hidden, count = settings["hidden_size"], settings["num_experts"]
    weights: Weights = {prefix + "gate.weight": draw.normal(count, hidden, spread=_ROUTER_SPREAD)}
    for expert in range(count):
        weights |= _feed_forward(f"{prefix}experts.{expert}.", hidden, settings["moe_intermediate_size"], draw)
    weights |= _feed_forward(prefix + "shared_expert.", hidden, settings["shared_expert_intermediate_size"], draw)
    weights[prefix + "shared_expert_gate.weight"] = draw.normal(1, hidden)
    return weights


def _gpt(settings: Mapping[str, Any], draw: _Draw) -> Weights:
    """GPT-2's names and layout, which GPT-3 shares: its linear layers are [in, out]; the head is the embedding."""
    hidden, inner = settings["hidden_size"], settings["intermediate_size"]
    weights: Weights = {
        "transformer.wte.weight": draw.normal(settings["vocab_size"], hidden),
        "transformer.wpe.weight": draw.normal(settings["max_position_embeddings"], hidden),
    }
    for layer in range(settings["num_hidden_layers"]):
        prefix = f"transformer.h.{layer}."
        for norm in ("ln_1", "ln_2"):
            weights[f"{prefix}{norm}.weight"] = _ones(hidden)
            weights[f"{prefix}{norm}.bias"] = draw.normal(hidden)
        for name, rows, columns in (
            ("attn.c_attn", hidden, 3 * hidden),
            ("attn.c_proj", hidden, hidden),
            ("mlp.c_fc", hidden, inner),
            ("mlp.c_proj", inner, hidden),
        ):
            weights[f"{prefix}{name}.weight"] = draw.normal(rows, columns)
            weights[f"{prefix}{name}.bias"] = draw.normal(columns)
    weights["transformer.ln_f.weight"] = _ones(hidden)
    weights["transformer.ln_f.bias"] = draw.normal(hidden)
    return weights
