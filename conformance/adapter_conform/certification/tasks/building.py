"""A recipe's model, with the weights that the pack holds for it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from adapter_conform.certification.recipes import Recipe
from adapter_conform.models.architectures import Architecture
from adapter_conform.models.paddlenlp_adapter import build_model, load_weights
from adapter_conform.models.weights import Weights, gpt_layout, paddle_layout

__all__ = ["build", "build_empty"]

_CLASSES = {
    "llama": ("LlamaForCausalLM", "LlamaConfig"),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config"),
    "qwen2_moe": ("Qwen2MoeForCausalLM", "Qwen2MoeConfig"),
    "gpt3": ("GPTForCausalLM", "GPTConfig"),
}
_WITHOUT_CHANCE = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_TIED = {"gpt3": ("lm_head.weight",)}


def build(paddle: ModuleType, recipe: Recipe, weights: Weights) -> Any:
    """The model on Paddle's current device. ``weights`` have Hugging Face's names and layout.

    Raises:
        ValueError: the weights are not those of the recipe's model, or its architecture cannot be built.
    """
    model, name = build_empty(paddle, recipe), recipe.standard_model.architecture
    arrays = gpt_layout(weights) if name == "gpt3" else paddle_layout(weights, base=name)
    load_weights(model, arrays, tied=_TIED.get(name, ()))
    return model


def build_empty(paddle: ModuleType, recipe: Recipe) -> Any:
    """The model on Paddle's current device, all its parameters zero.

    Raises:
        ValueError: its architecture cannot be built.
    """
    name = recipe.standard_model.architecture
    if name not in _CLASSES:
        raise ValueError(f"recipe {recipe.id}: architecture {name!r} cannot be built; known: {', '.join(_CLASSES)}")
    settings = dict(recipe.settings)
    if name == "gpt3":
        settings |= {**_WITHOUT_CHANCE, "hidden_activation": "gelu"}
    return build_model(paddle, Architecture(*_CLASSES[name], settings))
