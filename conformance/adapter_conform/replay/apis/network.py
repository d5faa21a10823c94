"""Layers: softmax, embedding, losses, attention."""

from __future__ import annotations

import math

import numpy as np

from adapter_conform.catalogue import bounds
from adapter_conform.catalogue.bounds import Operand, Tracked, move
from adapter_conform.catalogue.spec import Kernel, kernel
from adapter_conform.replay.apis.table import (
    Arguments,
    Refusal,
    add,
    catalogued,
    dtype_name,
    main_dtype,
    shape_of,
    signature,
)
from adapter_conform.replay.inputs import Fill, among, index
from adapter_conform.replay.syntax import TensorArg

__all__: list[str] = []


def _softmax_dtype(a: Arguments) -> str:
    return dtype_name(a.dtype, a.x.dtype)


def _softmax_kernels(a: Arguments) -> list[Kernel]:
    return [kernel("softmax", _softmax_dtype(a))]


add(
    "nn.functional.softmax",
    "softmax",
    signature("x", axis=-1, dtype=None, name=None),
    lambda a: catalogued("softmax", a.x, axis=int(a.axis)),
    kernels=_softmax_kernels,
    dtype=_softmax_dtype,
    also=lambda a: [] if a.dtype is None else [kernel("cast", a.x.dtype)],
)


def _embedding_fills(a: Arguments) -> dict[str, Fill]:
    if a.padding_idx is not None or a.max_norm is not None or a.scale_grad_by_freq:
        raise Refusal("embedding with padding, a norm or gradient scaling")
    return {"x": index(shape_of(a.weight)[0])}


add(
    "nn.functional.embedding",
    "embedding",
    signature(
        "x", "weight", padding_idx=None, max_norm=None, norm_type=2.0, sparse=False, scale_grad_by_freq=False, name=None
    ),
    lambda a: move(lambda w: w[a.x], a.weight),
    kernels=lambda a: [kernel("embedding", a.weight.dtype)],
    fills=_embedding_fills,
    dtype=lambda a: str(a.weight.dtype),
)


def _swiglu(a: Arguments) -> Operand:
    return catalogued("swiglu", *([a.x] if a.y is None else [a.x, a.y]))


add("incubate.nn.functional.swiglu", "swiglu", signature("x", y=None, name=None), _swiglu)


def _entropy_fills(a: Arguments) -> dict[str, Fill]:
    """Labels below the number of classes. None is the ignored one: recorded runs mask afterwards."""
    plain = a.weight is None and not a.soft_label and a.use_softmax and a.reduction == "none"
    if not plain or a.axis != -1 or a.label_smoothing:
        raise Refusal("cross_entropy with weights, soft labels, smoothing or a reduction")
    return {"label": index(shape_of(a.input)[-1])}


def _entropy_also(a: Arguments) -> list[Kernel]:
    """Paddle blanks ignored labels first."""
    own = a.label.dtype
    return [kernel("not_equal", own), kernel("full", own), kernel("cast", "bool"), kernel("multiply", own)]


def _entropy(a: Arguments) -> Operand:
    """``log(sum(exp(x - max))) - (x[label] - max)``; the result keeps the last side as 1 where the labels have it."""
    x, label = a.input, np.asarray(a.label)
    keeps = label.ndim == x.ndim
    picked = label if keeps else label[..., None]
    shifted = x - bounds.amax(x, (x.ndim - 1,), True)
    loss = bounds.log(bounds.total(bounds.exp(shifted), (x.ndim - 1,), True)) - bounds.argselect(shifted, picked, -1)
    return loss if keeps else move(lambda v: v[..., 0], loss)


add(
    "nn.functional.cross_entropy",
    "cross_entropy_with_softmax",
    signature(
        "input",
        "label",
        weight=None,
        ignore_index=-100,
        reduction="mean",
        soft_label=False,
        axis=-1,
        use_softmax=True,
        label_smoothing=0.0,
        name=None,
    ),
    _entropy,
    fills=_entropy_fills,
    also=_entropy_also,
)


def _attention_kernels(a: Arguments) -> list[Kernel]:
    """Flash attention, or the decomposition that Paddle takes where it sees none: two products around a softmax."""
    if a.dropout_p and a.training:
        raise Refusal("attention with random dropout")
    if main_dtype(a) != "float32":
        raise Refusal("attention in a half type, which Paddle sends to a fused kernel")
    return [kernel("flash_attn|matmul", "float32"), kernel("flash_attn|softmax", "float32")]


def _attention(a: Arguments) -> Tracked:
    """``[batch, length, heads, size]`` in and out; an additive or boolean mask broadcasts to the scores."""
    query, key, value = (move(lambda x: np.swapaxes(x, 1, 2), x) for x in (a.query, a.key, a.value))
    scores = bounds.dot(query * (1.0 / math.sqrt(query.shape[-1])), move(lambda x: np.swapaxes(x, -1, -2), key))
    if isinstance(a.attn_mask, Tracked):
        scores = scores + a.attn_mask
    elif a.attn_mask is not None:
        scores = bounds.select(np.broadcast_to(a.attn_mask, scores.shape), scores, -math.inf)
    if a.is_causal:
        scores = bounds.select(np.tri(scores.shape[-2], scores.shape[-1], dtype=bool), scores, -math.inf)
    weights = catalogued("softmax", scores, axis=-1)
    result: Tracked = move(lambda x: np.swapaxes(x, 1, 2), bounds.dot(weights, value))
    return result


def _attention_fills(a: Arguments) -> dict[str, Fill]:
    if isinstance(a.attn_mask, TensorArg) and a.attn_mask.dtype != "bool":
        return {"attn_mask": among(-65504.0)}
    return {}


add(
    "nn.functional.scaled_dot_product_attention",
    "scaled_dot_product_attention",
    signature(
        "query", "key", "value", attn_mask=None, dropout_p=0.0, is_causal=False, training=True, backend=None, name=None
    ),
    _attention,
    kernels=_attention_kernels,
    fills=_attention_fills,
)


def _dropout_fills(a: Arguments) -> dict[str, Fill]:
    if a.p == 0 or not a.training:
        raise Refusal("dropout that drops nothing returns the tensor itself: there is nothing to judge")
    raise Refusal("dropout is random: there is no oracle")


add(
    "nn.functional.dropout",
    "dropout",
    signature("x", p=0.5, axis=None, training=True, mode="upscale_in_train", name=None),
    lambda a: a.x,
    fills=_dropout_fills,
)
