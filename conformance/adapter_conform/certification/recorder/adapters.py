"""Low-rank adapters and prefixes, written out: peft is not needed on the reference machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from adapter_conform.certification.recipes import Recipe, lora_modules, lora_weights, prefix_weights

__all__ = ["Forward", "adapt", "merge_adapters"]

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

    def merge(self) -> None:
        self.linear.weight.add_(self.b @ self.a * self.scale)
        self.scale = 0.0


def _parameter(array: NDArray[np.float32], device: Any) -> Any:
    return torch.nn.Parameter(torch.from_numpy(np.array(array)).to(device))


def adapt(recipe: Recipe, network: Any) -> tuple[Forward, list[Any]]:
    """How the task's model computes logits, and the parameters that learn. Changes ``network``."""
    if recipe.task == "lora":
        _freeze(network)
        learning = _add_low_rank(recipe, network)
    elif recipe.task == "prefix":
        _freeze(network)
        prefix = _parameter(prefix_weights(recipe), next(network.parameters()).device)
        return _prefixed(network, prefix), [prefix]
    else:
        learning = list(network.parameters())
    return lambda ids: network(input_ids=ids).logits, learning


def merge_adapters(network: Any) -> None:
    """Adds every low-rank adapter to the weights that it stands beside. Without gradients only."""
    for module in network.modules():
        if isinstance(module, _LowRank):
            module.merge()


def _freeze(network: Any) -> None:
    for parameter in network.parameters():
        parameter.requires_grad_(False)


def _add_low_rank(recipe: Recipe, network: Any) -> list[Any]:
    weights = lora_weights(recipe)
    scale = recipe.option("alpha") / recipe.option("rank")
    learning = []
    for name in lora_modules(recipe.settings):
        owner_name, _, child = name.rpartition(".")
        owner = network.get_submodule(owner_name)
        module = _LowRank(getattr(owner, child), weights[name + ".lora_A"], weights[name + ".lora_B"], scale)
        setattr(owner, child, module)
        learning += [module.a, module.b]
    return learning


def _prefixed(network: Any, prefix: Any) -> Forward:
    """Keys and values learned for tokens before the first (Li & Liang, Prefix-Tuning, 2021), as PaddleNLP has it: the
    positions of the real tokens start at 0, the learned keys are not rotated.

    ``prefix`` is [tokens, 2 * layers, heads, size], the keys of all layers before the values.
    """
    tokens, layers = prefix.shape[0], prefix.shape[1] // 2

    def forward(ids: Any) -> Any:
        rows, length = ids.shape
        pieces = prefix.permute(1, 2, 0, 3)  # 2 * layers of [heads, tokens, size]
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
