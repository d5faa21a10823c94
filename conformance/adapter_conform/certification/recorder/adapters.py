"""Low-rank adapters and prefixes, written out: peft is not needed on the reference machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recorder.initial import Weights

__all__ = ["Forward", "adapted", "plain_forward"]

Forward = Callable[[Any], Any]
"""int64 [rows, length] -> logits [rows, length, vocabulary]"""


class _LowRank(torch.nn.Module):  # type: ignore[misc]  # torch brings no types where this is checked
    """``linear(x) + scale * (x A^T) B^T``; only A and B learn (Hu et al., LoRA, 2021)."""

    def __init__(self, linear: Any, a: NDArray[np.float32], b: NDArray[np.float32], scale: float) -> None:
        super().__init__()
        self.linear, self.scale = linear, scale
        self.a, self.b = _parameter(a, linear.weight.device), _parameter(b, linear.weight.device)

    def forward(self, x: Any) -> Any:
        return self.linear(x) + (x @ self.a.T) @ self.b.T * self.scale


def _parameter(array: NDArray[np.float32], device: Any) -> Any:
    return torch.nn.Parameter(torch.from_numpy(np.array(array)).to(device))


def plain_forward(network: Any) -> Forward:
    return lambda ids: network(input_ids=ids).logits


def adapted(recipe: Recipe, network: Any, adapters: Weights) -> tuple[Forward, list[Any]]:
    """How the task's model computes logits, and the parameters that learn. Changes ``network``."""
    if recipe.task not in ("lora", "prefix"):
        return plain_forward(network), list(network.parameters())
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    if recipe.task == "lora":
        return plain_forward(network), _add_low_rank(network, adapters, recipe.option("alpha") / recipe.option("rank"))
    prefix = _parameter(adapters["prefix_encoder.weight"], next(network.parameters()).device)
    return _prefixed(recipe, network, prefix), [prefix]


def _add_low_rank(network: Any, adapters: Weights, scale: float) -> list[Any]:
    learning = []
    for name in adapters:
        layer = name.removesuffix(".lora_A.weight")
        if layer != name:
            parent, _, child = layer.rpartition(".")
            owner = network.get_submodule(parent)
            module = _LowRank(getattr(owner, child), adapters[name], adapters[layer + ".lora_B.weight"], scale)
            setattr(owner, child, module)
            learning += [module.a, module.b]
    return learning


def _prefixed(recipe: Recipe, network: Any, prefix: Any) -> Forward:
    """Keys and values learned for tokens before the first (Li & Liang, Prefix-Tuning, 2021), as PaddleNLP has it:
    the positions of the real tokens start at 0, the learned keys are not rotated."""
    settings = recipe.settings
    layers, heads = settings["num_hidden_layers"], settings["num_key_value_heads"]
    tokens = prefix.shape[0]

    def forward(ids: Any) -> Any:
        rows, length = ids.shape
        # [tokens, 2 * layers, heads, size] -> 2 * layers of [rows, heads, tokens, size]
        pieces = prefix.view(tokens, 2 * layers, heads, -1).permute(1, 2, 0, 3)
        if torch.is_autocast_enabled(ids.device.type):
            pieces = pieces.to(torch.get_autocast_dtype(ids.device.type))
        cache = DynamicCache()
        for layer in range(layers):
            key, value = (pieces[index].expand(rows, -1, -1, -1) for index in (layer, layers + layer))
            cache.update(key, value, layer)
        return network(
            input_ids=ids,
            past_key_values=cache,
            attention_mask=torch.ones(rows, tokens + length, dtype=torch.long, device=ids.device),
            position_ids=torch.arange(length, device=ids.device).expand(rows, -1),
            use_cache=True,
        ).logits

    return forward
