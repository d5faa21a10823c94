"""Shapes of real models, for the profile ``full``: LLaMA-13B, LLaMA3-70B, Qwen2-57B-A14B.

Widths are those of the published configurations; the number of tokens is small, so that a case stays below
``MOST_BYTES`` of inputs and an oracle in float64 takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from adapter_conform.catalogue.spec import Description
from adapter_conform.catalogue.values import describe, tensor

__all__ = ["MODELS", "MOST_BYTES", "Model", "model_examples"]

MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class Model:
    """The sides that kernels see."""

    name: str
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    experts: int = 0
    chosen: int = 0
    expert_width: int = 0

    @property
    def head(self) -> int:
        return self.hidden // self.heads


MODELS = (
    Model("llama-13b", 5120, 13824, 40, 40, 32000),
    Model("llama3-70b", 8192, 28672, 64, 8, 128256),
    Model("qwen2-57b-a14b", 3584, 20480, 28, 4, 151936, experts=64, chosen=8, expert_width=2560),
)

TOKENS = 8


def _product(rows: int, depth: int, columns: int) -> Description:
    return describe(tensor([rows, depth]), tensor([depth, columns]), transpose_x=False, transpose_y=False)


def _matmul(m: Model) -> list[Description]:
    """Projections: of queries, of keys and values, down, and into experts, a part of the columns of each."""
    found = [
        _product(TOKENS, m.hidden, m.hidden // 16),
        _product(TOKENS, m.hidden, m.kv_heads * m.head // 8),
        _product(TOKENS, m.intermediate, m.hidden // 64),
    ]
    return [*found, _product(TOKENS, m.hidden, m.expert_width // 8)] if m.experts else found


def _rows(m: Model) -> list[Description]:
    return [describe(tensor([1, TOKENS, m.hidden]))]


def _wide_rows(m: Model) -> list[Description]:
    return [describe(tensor([TOKENS, m.intermediate]))]


def _pairs(m: Model) -> list[Description]:
    return [describe(tensor([1, TOKENS, m.hidden]), tensor([1, TOKENS, m.hidden]))]


def _gates(m: Model) -> list[Description]:
    return [describe(tensor([TOKENS, m.intermediate]), tensor([TOKENS, m.intermediate]))]


def _norm(m: Model) -> list[Description]:
    weight = tensor([m.hidden])
    return [describe(tensor([1, TOKENS, m.hidden]), weight, normalized_shape=[m.hidden], epsilon=1e-5)]


def _softmax(m: Model) -> list[Description]:
    scores = describe(tensor([1, m.heads, TOKENS, 512], "masked"), axis=-1)
    return [scores, *([describe(tensor([TOKENS, m.experts]), axis=-1)] if m.experts else [])]


def _logits(m: Model) -> list[Description]:
    labels = tensor([2], "labels", "int64", classes=m.vocabulary, ignore=None)
    return [describe(tensor([2, m.vocabulary]), labels, ignore_index=-100, reduction="none")]


def _attention(m: Model) -> list[Description]:
    kv = tensor([1, 64, m.kv_heads, m.head], "unit")
    return [describe(tensor([1, 64, m.heads, m.head]), kv, dict(kv), causal=True)]


def _transpose(m: Model) -> list[Description]:
    return [describe(tensor([1, 64, m.heads, m.head]), perm=[0, 2, 1, 3])]


def _top(m: Model) -> list[Description]:
    return [describe(tensor([TOKENS, m.experts], "distinct"), axis=-1, k=m.chosen, largest=True)] if m.experts else []


_BUILDERS: dict[str, Callable[[Model], list[Description]]] = {
    "matmul": _matmul,
    "add": _pairs,
    "multiply": _gates,
    "swiglu": _gates,
    "silu": _wide_rows,
    "gelu": lambda m: [describe(tensor([TOKENS, m.intermediate]), approximate=True)],
    "square": _rows,
    "rms_norm": _norm,
    "softmax": _softmax,
    "cross_entropy_with_softmax": _logits,
    "flash_attn": _attention,
    "transpose": _transpose,
    "mean": lambda m: [describe(tensor([1, TOKENS, m.hidden]), axis=-1, keepdim=True)],
    "topk": _top,
}


def model_examples(name: str) -> list[tuple[str, Description]]:
    """(model, example) pairs for the operator ``name``; none for operators without a shape of their own."""
    build = _BUILDERS.get(name)
    if build is None:
        return []
    found = [(model.name, item) for model in MODELS for item in build(model)]
    for _, item in found:
        assert sum(8 * math.prod(part["shape"]) for part in item["inputs"]) <= MOST_BYTES
    return found
