"""Names of Stable Diffusion's weights: diffusers and transformers on one side, ppdiffusers and PaddleNLP on the other.

No framework is imported. Whole models have the parts ``unet``, ``vae`` and ``text_encoder``.
"""

from __future__ import annotations

import numpy as np

from adapter_conform.models.weights import Weights

__all__ = ["diffusion_layout", "learning", "paddle_name"]

_TEXT = "text_encoder."
_CHANGED = (
    ("embeddings.position_embedding.weight", "positional_embedding.weight"),
    ("embeddings.token_embedding.weight", "token_embedding.weight"),
    ("encoder.layers.", "transformer.layers."),
    ("layer_norm1.", "norm1."),
    ("layer_norm2.", "norm2."),
    ("mlp.fc1.", "linear1."),
    ("mlp.fc2.", "linear2."),
    ("final_layer_norm.", "ln_final."),
)
"""Of the text encoder; the two others are named alike."""


def paddle_name(name: str) -> str:
    """E.g. ``"text_encoder.text_model.final_layer_norm.bias"`` -> ``"text_encoder.text_model.ln_final.bias"``."""
    if not name.startswith(_TEXT):
        return name
    rest = name.removeprefix(_TEXT).removeprefix("text_model.")  # transformers 5 has left the prefix out
    for theirs, ours in _CHANGED:
        rest = rest.replace(theirs, ours)
    return f"{_TEXT}text_model.{rest}"


def diffusion_layout(weights: Weights) -> Weights:
    """``weights`` as ppdiffusers has them: linear layers are [in, out], so every matrix is transposed, except a table
    of embeddings; convolutions are alike."""
    renamed: Weights = {}
    for name, array in weights.items():
        transposed = array.ndim == 2 and not name.endswith("_embedding.weight")
        renamed[paddle_name(name)] = np.ascontiguousarray(array.T if transposed else array)
    return renamed


def learning(name: str, task: str) -> bool:
    """Whether a weight is trained: pretraining trains the denoising network and the text encoder, SFT the former."""
    return name.startswith("unet.") or (task == "pretrain" and name.startswith(_TEXT))
