"""What a recipe starts from: initial weights, low-rank adapters, prefixes. NumPy only; Hugging Face's names and layout.

Adapters and prefixes are drawn as ``random_sample`` times a power of two: exact arithmetic, so that every machine draws
the same bits. Initial weights are normal numbers, whose last bit may differ between machines: they travel in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.recipes.diffusion_shapes import diffusion_shapes
from adapter_conform.certification.recipes.recipe import Recipe

__all__ = [
    "LORA_TARGETS",
    "Weights",
    "initial_weights",
    "lora_modules",
    "lora_weights",
    "neighbouring",
    "prefix_weights",
    "storable",
]

Weights = dict[str, NDArray[np.float32]]

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers that get a low-rank adapter, in every layer of the model."""

MERGED_PROBES = 32
"""Questions whose logits are compared before and after low-rank adapters were merged."""

_SPREAD = 0.02
_ROUTER_SPREAD = 0.1
"""Of the router of a mixture of experts: wide enough that no token is a tie."""

_Draw = Callable[..., NDArray[np.float32]]


def initial_weights(recipe: Recipe) -> Weights:
    """Matrices normal with deviation 0.02, norms one: the start of pretraining and of SFT. Of Stable Diffusion as
    PyTorch draws them.

    Raises:
        ValueError: nothing here draws weights of the recipe's architecture.
    """
    architecture = recipe.standard_model.architecture
    if architecture == "stable_diffusion":
        return _of_shapes(np.random.RandomState(_seed(recipe, 1)), diffusion_shapes(recipe.settings))
    if architecture not in _DRAWN:
        raise ValueError(f"recipe {recipe.id}: no initial weights are drawn for architecture {architecture!r}")
    state = np.random.RandomState(_seed(recipe, 1))

    def normal(*shape: int) -> NDArray[np.float32]:
        return (state.standard_normal(shape) * _SPREAD).astype(np.float32)

    return _DRAWN[architecture](recipe.settings, normal)


def _of_shapes(state: np.random.RandomState, shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    """Matrices and convolutions normal with the variance 1 / (3 inputs), as PyTorch draws them by default; tables of
    embeddings 0.02, biases too, so that one that is left out shows at once; norms one."""
    weights: Weights = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if len(shape) == 1:
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            spread = _SPREAD
        else:
            centre, spread = 0.0, (3.0 * float(np.prod(shape[1:]))) ** -0.5
            spread = _SPREAD if "embedding.weight" in name else spread
        weights[name] = (centre + state.standard_normal(shape) * spread).astype(np.float32)
    return weights


def storable(weights: Weights) -> Weights:
    """Numbers that float16 holds exactly, as a pack stores them in half the room: what device and reference both start
    from, so that nothing is lost by rounding what another training learned."""
    return {name: array.astype(np.float16).astype(np.float32) for name, array in weights.items()}


def neighbouring(weights: Weights) -> Weights:
    """Every number moved to the float32 above or below, at random. Products with these weights lie from the exact ones
    as far as those of a device that rounds every term once, which is the least that a device does."""
    draw = np.random.RandomState(1)
    infinity = np.float32(np.inf)

    def moved(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.nextafter(array, np.where(draw.random_sample(array.shape) < 0.5, infinity, -infinity))

    return {name: moved(array) for name, array in weights.items()}


def lora_modules(settings: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Module that gets an adapter -> (inputs, outputs), e.g. ``"model.layers.0.self_attn.q_proj": (128, 128)``."""
    hidden, inner = int(settings["hidden_size"]), int(settings["intermediate_size"])
    key_value = hidden // int(settings["num_attention_heads"]) * int(settings["num_key_value_heads"])
    sizes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden, key_value),
        "self_attn.v_proj": (hidden, key_value),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (hidden, inner),
        "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }
    layers = range(int(settings["num_hidden_layers"]))
    return {f"model.layers.{layer}.{name}": size for layer in layers for name, size in sizes.items()}


def lora_weights(recipe: Recipe) -> Weights:
    """``<module>.lora_A`` [rank, inputs] drawn, ``<module>.lora_B`` [outputs, rank] zero, as peft lays them out.

    An adapter adds ``alpha / rank * B @ A @ x`` to what its module gives.
    """
    rank = int(recipe.option("rank"))
    draw = np.random.RandomState(_seed(recipe, 2))
    weights: Weights = {}
    for module, (inputs, outputs) in lora_modules(recipe.settings).items():
        weights[f"{module}.lora_A"] = _exact(draw, (rank, inputs), 2.0**-3)
        weights[f"{module}.lora_B"] = np.zeros((outputs, rank), dtype=np.float32)
    return weights


def prefix_weights(recipe: Recipe) -> NDArray[np.float32]:
    """Keys and values before the first token: float32 [tokens, 2 * layers, key/value heads, head size].

    Along the second axis first the keys of every layer, then the values. Rotary positions do not count the prefix: the
    first real token stands at position 0, and the keys here are used as they are.
    """
    settings = recipe.settings
    heads = int(settings["num_attention_heads"])
    size = int(settings["hidden_size"]) // heads
    shape = (
        int(recipe.option("tokens")),
        2 * int(settings["num_hidden_layers"]),
        int(settings["num_key_value_heads"]),
        size,
    )
    return _exact(np.random.RandomState(_seed(recipe, 3)), shape, 2.0**-3)


def _exact(draw: np.random.RandomState, shape: tuple[int, ...], spread: float) -> NDArray[np.float32]:
    """Even in ``-spread .. spread``; ``spread`` is a power of two."""
    return ((2.0 * draw.random_sample(shape) - 1.0) * spread).astype(np.float32)


def _seed(recipe: Recipe, purpose: int) -> int:
    return 7_000_003 * purpose + recipe.seed


def _ones(size: int) -> NDArray[np.float32]:
    return np.ones(size, dtype=np.float32)


def _decoder(settings: Mapping[str, Any], normal: _Draw, biased: bool, mlp: Callable[[str], Weights]) -> Weights:
    """A decoder of the LLaMA family; ``mlp`` gives the feed-forward part of the layer with this prefix."""
    vocabulary, hidden = int(settings["vocab_size"]), int(settings["hidden_size"])
    size = hidden // int(settings["num_attention_heads"])
    outputs = {"q": hidden, "k": size * int(settings["num_key_value_heads"])}
    outputs["v"] = outputs["k"]
    weights = {"model.embed_tokens.weight": normal(vocabulary, hidden)}
    for layer in range(int(settings["num_hidden_layers"])):
        prefix = f"model.layers.{layer}."
        for name, width in outputs.items():
            weights[f"{prefix}self_attn.{name}_proj.weight"] = normal(width, hidden)
            if biased:
                weights[f"{prefix}self_attn.{name}_proj.bias"] = normal(width)
        weights[prefix + "self_attn.o_proj.weight"] = normal(hidden, hidden)
        weights.update(mlp(prefix + "mlp."))
        weights[prefix + "input_layernorm.weight"] = _ones(hidden)
        weights[prefix + "post_attention_layernorm.weight"] = _ones(hidden)
    weights["model.norm.weight"] = _ones(hidden)
    weights["lm_head.weight"] = normal(vocabulary, hidden)
    return weights


def _gated(normal: _Draw, prefix: str, hidden: int, inner: int) -> Weights:
    return {
        prefix + "gate_proj.weight": normal(inner, hidden),
        prefix + "up_proj.weight": normal(inner, hidden),
        prefix + "down_proj.weight": normal(hidden, inner),
    }


def _llama(settings: Mapping[str, Any], normal: _Draw, biased: bool = False) -> Weights:
    hidden, inner = int(settings["hidden_size"]), int(settings["intermediate_size"])
    return _decoder(settings, normal, biased, lambda prefix: _gated(normal, prefix, hidden, inner))


def _qwen2_moe(settings: Mapping[str, Any], normal: _Draw) -> Weights:
    hidden = int(settings["hidden_size"])

    def experts(prefix: str) -> Weights:
        weights: Weights = {}
        for expert in range(int(settings["num_experts"])):
            weights.update(_gated(normal, f"{prefix}experts.{expert}.", hidden, int(settings["moe_intermediate_size"])))
        shared = int(settings["shared_expert_intermediate_size"])
        weights.update(_gated(normal, prefix + "shared_expert.", hidden, shared))
        weights[prefix + "gate.weight"] = normal(int(settings["num_experts"]), hidden) * np.float32(
            _ROUTER_SPREAD / _SPREAD
        )
        weights[prefix + "shared_expert_gate.weight"] = normal(1, hidden)
        return weights

    return _decoder(settings, normal, True, experts)


def _gpt3(settings: Mapping[str, Any], normal: _Draw) -> Weights:
    """Names and layout of Hugging Face's GPT-2, whose linear layers are [in, out]; the head is tied."""
    hidden, inner = int(settings["hidden_size"]), int(settings["intermediate_size"])
    weights = {
        "transformer.wte.weight": normal(int(settings["vocab_size"]), hidden),
        "transformer.wpe.weight": normal(int(settings["max_position_embeddings"]), hidden),
    }
    for layer in range(int(settings["num_hidden_layers"])):
        prefix = f"transformer.h.{layer}."
        for name, inputs, outputs in (
            ("attn.c_attn", hidden, 3 * hidden),
            ("attn.c_proj", hidden, hidden),
            ("mlp.c_fc", hidden, inner),
            ("mlp.c_proj", inner, hidden),
        ):
            weights[f"{prefix}{name}.weight"] = normal(inputs, outputs)
            weights[f"{prefix}{name}.bias"] = normal(outputs)
        for name in ("ln_1", "ln_2"):
            weights[f"{prefix}{name}.weight"] = _ones(hidden)
            weights[f"{prefix}{name}.bias"] = np.zeros(hidden, dtype=np.float32)
    weights["transformer.ln_f.weight"] = _ones(hidden)
    weights["transformer.ln_f.bias"] = np.zeros(hidden, dtype=np.float32)
    return weights


_DRAWN: dict[str, Callable[[Mapping[str, Any], _Draw], Weights]] = {
    "llama": _llama,
    "qwen2": lambda settings, normal: _llama(settings, normal, biased=True),
    "qwen2_moe": _qwen2_moe,
    "gpt3": _gpt3,
}
