"""Initial weights: drawn with NumPy, carried in a safetensors file, named and laid out as Hugging Face does.

A file, because equal seeds give different weights on different devices and in different frameworks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from adapter_conform.models.shape import Decoder

__all__ = ["Weights", "gpt_layout", "llama_weights", "paddle_layout", "read_weights", "write_weights"]

Weights = dict[str, NDArray[np.float32]]
"""Name -> array; a linear layer's weight is [out, in]."""

_SPREAD = 0.02
"""Standard deviation of the matrices."""


def llama_weights(shape: Decoder, seed: int) -> Weights:
    """Weights for a LLaMA with an untied head: matrices normal with deviation 0.02, norms one."""
    draw = np.random.RandomState(seed)  # its streams are frozen, those of numpy.random.Generator are not

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return (draw.standard_normal((rows, columns)) * _SPREAD).astype(np.float32)

    def ones() -> NDArray[np.float32]:
        return np.ones(shape.hidden, dtype=np.float32)

    key_value = shape.key_value_heads * shape.head_size
    weights = {"model.embed_tokens.weight": matrix(shape.vocabulary, shape.hidden)}
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        weights[prefix + "self_attn.q_proj.weight"] = matrix(shape.hidden, shape.hidden)
        weights[prefix + "self_attn.k_proj.weight"] = matrix(key_value, shape.hidden)
        weights[prefix + "self_attn.v_proj.weight"] = matrix(key_value, shape.hidden)
        weights[prefix + "self_attn.o_proj.weight"] = matrix(shape.hidden, shape.hidden)
        weights[prefix + "mlp.gate_proj.weight"] = matrix(shape.intermediate, shape.hidden)
        weights[prefix + "mlp.up_proj.weight"] = matrix(shape.intermediate, shape.hidden)
        weights[prefix + "mlp.down_proj.weight"] = matrix(shape.hidden, shape.intermediate)
        weights[prefix + "input_layernorm.weight"] = ones()
        weights[prefix + "post_attention_layernorm.weight"] = ones()
    weights["model.norm.weight"] = ones()
    weights["lm_head.weight"] = matrix(shape.vocabulary, shape.hidden)
    return weights


def write_weights(path: Path, weights: Weights) -> None:
    """Writes ``weights`` as a safetensors file."""
    save_file(weights, path)


def read_weights(path: Path) -> Weights:
    """Reads what :func:`write_weights` wrote."""
    weights: Weights = load_file(path)
    return weights


def paddle_layout(weights: Weights, base: str) -> Weights:
    """``weights`` as PaddleNLP names and lays them out.

    ``base`` is the name of the model's trunk there, e.g. ``"llama"``. Paddle stores a linear layer as [in, out], so
    every matrix is transposed, except an embedding, which is a table and no linear layer.
    """
    renamed: Weights = {}
    for name, array in weights.items():
        target = base + name[len("model") :] if name.startswith("model.") else name
        transposed = array.ndim == 2 and not name.endswith("embed_tokens.weight")
        renamed[target] = np.ascontiguousarray(array.T if transposed else array)
    return renamed


_GPT_PARTS = {
    "attn.c_proj": "self_attn.out_proj",
    "mlp.c_fc": "linear1",
    "mlp.c_proj": "linear2",
    "ln_1": "norm1",
    "ln_2": "norm2",
}
_GPT_ENDS = {
    "transformer.wte.weight": "gpt.embeddings.word_embeddings.weight",
    "transformer.wpe.weight": "gpt.embeddings.position_embeddings.weight",
    "transformer.ln_f.weight": "gpt.decoder.norm.weight",
    "transformer.ln_f.bias": "gpt.decoder.norm.bias",
}


def gpt_layout(weights: Weights) -> Weights:
    """Weights of a GPT-2 of Hugging Face as PaddleNLP's GPT names them: nothing is transposed, and the one product
    that gives queries, keys and values is split in three on its last axis.

    Raises:
        ValueError: a name is none of GPT-2's.
    """
    renamed: Weights = {}
    for name, array in weights.items():
        if name in _GPT_ENDS:
            renamed[_GPT_ENDS[name]] = array
            continue
        head, _, rest = name.removeprefix("transformer.h.").partition(".")
        part, _, kind = rest.rpartition(".")
        layer = f"gpt.decoder.layers.{head}."
        if part == "attn.c_attn":
            thirds = np.split(array, 3, axis=-1)
            for letter, third in zip("qkv", thirds, strict=True):
                renamed[f"{layer}self_attn.{letter}_proj.{kind}"] = np.ascontiguousarray(third)
        elif part in _GPT_PARTS:
            renamed[f"{layer}{_GPT_PARTS[part]}.{kind}"] = array
        else:
            raise ValueError(f"{name!r} is no weight of a GPT-2")
    return renamed
