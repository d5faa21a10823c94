"""What an inference recipe runs in: the dtypes and quantization schemes that the standard names. NumPy only.

The precision of such a recipe is the name of a scheme. Its texts are the validation rows of the recipe's corpus, judged
where an answer stands; activations are calibrated on training rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.recipes.corpora import IGNORED, Tokens, corpus_of
from adapter_conform.certification.recipes.recipe import Recipe

__all__ = [
    "LINEARS",
    "SCHEMES",
    "SERVED",
    "Scheme",
    "Texts",
    "calibration_rows",
    "linear_inputs",
    "maxima_of_all",
    "texts_of",
]

SERVED = ("llama", "qwen2")
"""Architectures that the serving engine knows."""

LINEARS: Mapping[str, tuple[str, ...]] = {
    "gpt3": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
    "stable_diffusion": (
        *(f"attn{number}.to_{part}" for number in (1, 2) for part in ("q", "k", "v", "out.0")),
        *("ff.net.0.proj", "ff.net.2"),
        *("q_proj", "k_proj", "v_proj", "out_proj", "mlp.fc1", "mlp.fc2"),
    ),
    "": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
"""Ends of the names of the linear layers that are quantized, by architecture. Embedding, head and routers stay; of
Stable Diffusion convolutions, the time's layers and the autoencoder."""

_MULTIPLE = 16
"""Paddle's weight_quantize and weight_only_linear take whole multiples of so many inputs and outputs: a layer of
another size stays as it is."""

_EXPERT = re.compile(r"\.experts\.\d+\.")


@dataclass(frozen=True)
class Scheme:
    dtype: str
    """Of activations, and of weights that are no integers."""
    bits: int = 0
    """Of the weights of linear layers; 0: they are in ``dtype``."""
    group: int = -1
    """Numbers of a channel that share a scale; -1: all."""
    calibrated: bool = False
    """Whether activations are int8 too."""

    def group_of(self, features: int) -> int:
        """The group for a layer with so many inputs: a channel where the group does not divide them."""
        return self.group if self.group > 0 and features % self.group == 0 else -1

    @property
    def product(self) -> str:
        """The kernel that multiplies in a linear layer, as calls are counted."""
        if self.calibrated:
            return "matmul/int8"
        return f"{'weight_only_linear' if self.bits else 'matmul'}/{self.dtype}"


SCHEMES: Mapping[str, Scheme] = {
    "float32": Scheme("float32"),
    "float16": Scheme("float16"),
    "bfloat16": Scheme("bfloat16"),
    "int8": Scheme("bfloat16", 8),
    "a8w8": Scheme("bfloat16", 8, calibrated=True),
    "int4": Scheme("bfloat16", 4),
    "int4-g64": Scheme("bfloat16", 4, 64),
    "int4-g128": Scheme("bfloat16", 4, 128),
}
"""int8, int4: weights alone. a8w8: int8 times int8, the range of each layer's input being the largest magnitude that
calibration saw."""


@dataclass(frozen=True)
class Texts:
    """Held-out rows with their answers."""

    inputs: Tokens
    """[batches, rows, length]"""
    labels: Tokens
    """The same shape; IGNORED where no answer stands."""

    @property
    def judged(self) -> NDArray[np.bool_]:
        return np.asarray(self.labels != IGNORED)


def texts_of(recipe: Recipe) -> Texts:
    return Texts(*corpus_of(recipe).validation(recipe))


def calibration_rows(recipe: Recipe) -> Tokens:
    """[batches, rows, length], of the training data."""
    return corpus_of(recipe).training(recipe)[0]


def maxima_of_all(seen: Mapping[str, NDArray[Any]], layers: Iterable[str]) -> dict[str, NDArray[Any]]:
    """The largest magnitudes that calibration found, layer -> [in], for all of ``layers``.

    An expert that no calibration row reached takes the largest of those of the other experts beside it; layers of which
    nothing can be said are left out. ``seen`` may hold zeros for what was not reached.
    """
    reached = {name: most for name, most in seen.items() if most.any()}
    beside: dict[str, NDArray[Any]] = {}
    for name, most in reached.items():
        kind = _EXPERT.sub(".experts.*.", name)
        beside[kind] = np.maximum(beside.get(kind, most), most)
    found = {}
    for name in layers:
        taken = reached.get(name, beside.get(_EXPERT.sub(".experts.*.", name)))
        if taken is not None:
            found[name] = taken
    return found


def linear_inputs(architecture: str, name: str, shape: tuple[int, ...]) -> int | None:
    """The axis of a weight (Hugging Face's name and layout) that its inputs lie on; None where it is not quantized."""
    ends = LINEARS.get(architecture, LINEARS[""])
    axis = 0 if architecture == "gpt3" else 1
    if len(shape) != 2 or not any(name.endswith(f"{end}.weight") for end in ends):
        return None
    if any(size % _MULTIPLE for size in shape):
        return None
    return axis
