"""Sizes of Stable Diffusion from its weights' names and shapes: every layer, and how many places it is computed at.

Arithmetic: a convolution or linear layer multiplies and adds its whole matrix at each place that it gives; attention
twice its width for each pair of places. A trained layer costs three times its forward pass in a step, a frozen one
once; the decoder does not run in training. Norms and element by element functions are left out, below 1 %.

Activations, bfloat16: what the backward pass needs. A convolution, a linear layer and a norm keep their input, SiLU
too; layers that share an input keep it once. Attention keeps queries, keys, values, what it gives (the input of the
next layer), and of its weights all of them or, as flash attention does, one float32 number a query and head (Dao et
al. 2022, FlashAttention, section 3.1). GEGLU keeps both halves and the GELU of one, quick GELU its input and the
sigmoid. Recomputed: residual blocks and transformer layers keep their input, as ppdiffusers' gradient checkpointing
does, and the largest of them is there in full.

Held against PyTorch 2.13 (a smaller UNet, latents 32 x 32): multiplications are those of its FLOP counter exactly; the
bytes that autograd saves are 0.08 % more than counted here, with flash attention 0.5 % fewer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adapter_conform.certification.recipes.diffusion_shapes import diffusion_shapes
from adapter_conform.models.diffusion_names import learning

__all__ = ["DiffusionModel", "Layer", "diffusion_model"]

_NUMBER = 2
"""Bytes: bfloat16."""
_KEPT = (
    (r"attn[12]\.to_[kv]|self_attn\.[kv]_proj", 0, 1),
    (r"to_q|q_proj", 1, 1),
    (r"conv_shortcut", 0, 0),
    (r"ff\.net\.0\.proj", 1, 1.5),
    (r"mlp\.fc1", 1, 2),
    (r"resnets\.\d+\.norm[12]|conv_norm_out", 2, 0),
)
"""Ends of names -> how often input and output are kept; of all others the input once."""
_UNIT = re.compile(r"unet\..*?(resnets\.\d+|transformer_blocks\.\d+)\.")
"""What is recomputed as a whole."""
_WORKING = 4
"""Copies of its widest layer that the encoder holds while it runs: a residual block's input, its norm, and input and
output of a convolution."""


@dataclass(frozen=True)
class Layer:
    """Of one row."""

    name: str
    """Without ``.weight``."""
    shape: tuple[int, ...]
    places: int
    """Of its output: height times width, or words; 0 where it does not run in training."""
    trained: bool
    keys: int = 0
    """Of the layer that makes queries: the places that answer them."""
    heads: int = 0

    @property
    def macs(self) -> int:
        """Multiplications and additions of a forward pass, without attention's products."""
        return math.prod(self.shape) * self.places if len(self.shape) > 1 else 0

    @property
    def attention_macs(self) -> int:
        """Of queries with keys, and of weights with values."""
        return 2 * self.shape[0] * self.places * self.keys

    @property
    def input_numbers(self) -> int:
        halved = 4 if "downsamplers" in self.name else 1
        return (self.shape[1] if len(self.shape) > 1 else self.shape[0]) * self.places * halved

    def kept_bytes(self, flash: bool) -> float:
        inputs, outputs = next(
            (counts for end, *counts in _KEPT if re.search(f"(?:{end})$", self.name)), (1 if self.places else 0, 0)
        )
        numbers = inputs * self.input_numbers + outputs * self.shape[0] * self.places
        weights = 4.0 if flash else _NUMBER * self.keys
        return _NUMBER * numbers + (weights * self.heads * self.places if self.keys else 0.0)


@dataclass(frozen=True)
class DiffusionModel:
    """Of one task: what it does not train is frozen."""

    layers: tuple[Layer, ...]
    trained: int
    """Parameters."""
    frozen: int
    side: int
    """Of a picture, in pixels."""
    words: int
    """Of a caption."""

    def macs(self, network: str, attention: bool = True) -> int:
        """Of a forward pass of ``unet``, ``vae`` (the encoder) or ``text_encoder`` on one row."""
        chosen = [layer for layer in self.layers if layer.name.startswith(f"{network}.")]
        return sum(layer.macs + (layer.attention_macs if attention else 0) for layer in chosen)

    @cached_property
    def flops_per_row(self) -> float:
        """Of a training step; two for a multiplication and its addition."""
        return float(
            sum(2 * (layer.macs + layer.attention_macs) * (3 if layer.trained else 1) for layer in self.layers)
        )

    def activation_bytes(self, recompute: bool, flash: bool = True) -> float:
        """A row; at least what the encoder needs while it runs."""
        trained = [layer for layer in self.layers if layer.trained]
        kept = sum(layer.kept_bytes(flash) for layer in trained)
        if recompute:
            units: dict[str, float] = {}
            for unit, layer in _in_units(trained):
                units[unit] = units.get(unit, 0.0) + layer.kept_bytes(flash)
                kept += _NUMBER * layer.input_numbers if layer.name == f"{unit}norm1" else 0.0
            kept += max(units.values()) - sum(units.values())
        widest = max(layer.shape[0] * layer.places for layer in self.layers if layer.name.startswith("vae."))
        return max(kept, float(_WORKING * _NUMBER * widest))


def diffusion_model(settings: Mapping[str, Any], task: str) -> DiffusionModel:
    """``settings`` of ``unet``, ``vae`` and ``text_encoder``; ``task``: pretrain or sft."""
    shapes = diffusion_shapes(settings)
    trained = sum(math.prod(shape) for name, shape in shapes.items() if learning(name, task))
    return DiffusionModel(
        tuple(_layers(settings, shapes, task)),
        trained,
        sum(map(math.prod, shapes.values())) - trained,
        _sides(settings)["vae"],
        int(settings["text_encoder"]["max_position_embeddings"]),
    )


def _in_units(layers: list[Layer]) -> Iterator[tuple[str, Layer]]:
    for layer in layers:
        if found := _UNIT.match(layer.name):
            yield found[0], layer


def _sides(settings: Mapping[str, Any]) -> dict[str, int]:
    """Of what goes in."""
    latents = int(settings["unet"]["sample_size"])
    return {"unet": latents, "vae": latents << (len(settings["vae"]["block_out_channels"]) - 1)}


def _layers(settings: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], task: str) -> Iterator[Layer]:
    words = int(settings["text_encoder"]["max_position_embeddings"])
    heads = {
        "unet": int(settings["unet"]["attention_head_dim"]),
        "vae": 1,
        "text_encoder": int(settings["text_encoder"]["num_attention_heads"]),
    }
    for full, shape in shapes.items():
        name, _, kind = full.rpartition(".")
        network = name.partition(".")[0]
        if kind != "weight" or name.endswith("_embedding"):  # looked up, not multiplied
            continue
        places = words if network == "text_encoder" else _places(name, settings)
        if re.search(r"attn2\.to_[kv]$", name):
            places = words
        asks = name.endswith(("to_q", "q_proj")) and places
        keys = (words if "attn2" in name else places) if asks else 0
        yield Layer(name, shape, places, learning(full, task), keys, heads[network] if asks else 0)


def _places(name: str, settings: Mapping[str, Any]) -> int:
    """Height times width of what a layer of ``unet`` or ``vae`` gives."""
    if "time_emb" in name:
        return 1
    if name.startswith("vae.") and ("decoder" in name or "post_quant" in name):
        return 0
    network = name.partition(".")[0]
    side = _sides(settings)[network] >> _halvings(name, len(settings[network]["block_out_channels"]))
    return side * side


def _halvings(name: str, levels: int) -> int:
    if found := re.search(r"(down|up)_blocks\.(\d+)\.(\w+)", name):
        level = int(found[2]) if found[1] == "down" else levels - 1 - int(found[2])
        return level + {"downsamplers": 1, "upsamplers": -1}.get(found[3], 0)
    deep = "mid_block" in name or (name.startswith("vae.") and not name.endswith("conv_in"))
    return levels - 1 if deep else 0
