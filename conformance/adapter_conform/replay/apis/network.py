"""Layers: softmax, embedding, losses, attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapter_conform import catalogue
from adapter_conform.catalogue import bounds
from adapter_conform.catalogue.attention import attention
from adapter_conform.catalogue.bounds import Operand, Tracked, move
from adapter_conform.catalogue.precision import Arithmetic
from adapter_conform.catalogue.sampling import hoeffding
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
from adapter_conform.replay.inputs import NONZERO, Fill, among, index
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


add("incubate.nn.functional.swiglu nn.functional.swiglu", "swiglu", signature("x", y=None, name=None), _swiglu)


def _entropy_fills(a: Arguments) -> dict[str, Fill]:
    """Labels below the number of classes. None is the ignored one: recorded runs mask afterwards."""
    plain = a.weight is None and not a.soft_label and a.use_softmax and a.reduction in ("none", "mean")
    if not plain or a.axis != -1 or a.label_smoothing:
        raise Refusal("cross_entropy with weights, soft labels, smoothing or a sum")
    return {"label": index(shape_of(a.input)[-1])}


def _entropy_also(a: Arguments) -> list[Kernel]:
    """Paddle blanks ignored labels first."""
    own = a.label.dtype
    needed = [kernel("not_equal", own), kernel("full", own), kernel("cast", "bool"), kernel("multiply", own)]
    return needed if a.reduction == "none" else [*needed, kernel("mean_all|mean", a.input.dtype)]


def _entropy(a: Arguments) -> Operand:
    """``log(sum(exp(x - max))) - (x[label] - max)``; the result keeps the last side as 1 where the labels have it."""
    x, label = a.input, np.asarray(a.label)
    keeps = label.ndim == x.ndim
    picked = label if keeps else label[..., None]
    shifted = x - bounds.amax(x, (x.ndim - 1,), True)
    loss = bounds.log(bounds.total(bounds.exp(shifted), (x.ndim - 1,), True)) - bounds.argselect(shifted, picked, -1)
    if a.reduction == "mean":
        return bounds.mean(loss.stored())
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
    """Flash attention; in float32 also the decomposition that Paddle takes where it sees none: two products around a
    softmax. Half types it sends to the fused kernel alone."""
    if a.dropout_p and a.training:
        raise Refusal("attention with random dropout")
    dtype = main_dtype(a)
    if dtype != "float32":
        return [kernel("flash_attn", dtype)]
    return [kernel("flash_attn|matmul", dtype), kernel("flash_attn|softmax", dtype)]


def _attention(a: Arguments) -> Operand:
    """``[batch, length, heads, size]`` in and out; an additive or boolean mask broadcasts to the scores. One head after
    another: the scores of all together may be larger than memory."""
    groups = a.query.shape[2] // a.key.shape[2]
    batches = []
    for i in range(a.query.shape[0]):
        heads = [_one_head(a, i, head, head // groups) for head in range(a.query.shape[2])]
        batches.append(move(lambda *parts: np.concatenate(parts, axis=2), *heads))
    return move(lambda *parts: np.concatenate(parts, axis=0), *batches)


def _one_head(a: Arguments, i: int, head: int, shared: int) -> Tracked:
    query = a.query[i : i + 1, :, head : head + 1]
    key, value = (part[i : i + 1, :, shared : shared + 1] for part in (a.key, a.value))
    rows, columns = query.shape[1], key.shape[1]
    mask, added = a.attn_mask, None
    allowed = np.tri(rows, columns, columns - rows, dtype=bool) if a.is_causal else np.ones((1, 1), bool)
    if mask is not None:
        own = _of_head(mask, i, head)
        if isinstance(mask, Tracked):
            added = own
        else:
            allowed = allowed & own
    return attention(query, key, value, float(np.float32(query.shape[-1] ** -0.5)), allowed, added)


def _of_head(mask: Any, i: int, head: int) -> Any:
    """The part of a mask [batch or 1, heads or 1, rows, columns] that one head sees."""
    if mask.ndim != 4:
        return mask
    batch, heads = mask.shape[:2]
    return mask[(i if batch > 1 else 0,)][None, (slice(head, head + 1) if heads > 1 else slice(0, 1))]


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
    if a.axis is not None or (not _identity(a) and (not a.training or a.p >= 1)):
        raise Refusal("dropout along axes, of everything, or in evaluation with p > 0")
    return {} if _identity(a) else {"x": NONZERO}


def _identity(a: Arguments) -> bool:
    """Paddle returns the tensor itself."""
    return float(a.p) == 0


def _dropout_called(function: Any, args: list[Any], kwargs: dict[str, Any], a: Arguments) -> Any:
    """What was dropped is random: judged are the elements that were kept, and how many."""
    if _identity(a):
        return function(*args, **kwargs)
    import paddle

    return catalogue.get("dropout_train").call(paddle, [a.x], {"p": a.p, "mode": a.mode})


def _dropout(a: Arguments) -> Operand | list[Operand]:
    if _identity(a):
        return move(lambda x: x, a.x)
    results = catalogue.get("dropout_train").oracle([a.x], {"p": a.p, "mode": a.mode})
    fraction = Tracked(1 - a.p, Arithmetic.of("float32"), np.asarray(hoeffding(a.x.size, 1)))
    return [results[0], fraction]


add(
    "nn.functional.dropout",
    "dropout",
    signature("x", p=0.5, axis=None, training=True, mode="upscale_in_train", name=None),
    _dropout,
    kernels=lambda a: [] if _identity(a) else [kernel("dropout", a.x.dtype)],
    fills=_dropout_fills,
    view=_identity,
    call=_dropout_called,
    result_dtypes=lambda a: None if _identity(a) else [a.x.dtype, "float32"],
)


def _flashmask_fills(a: Arguments) -> dict[str, Fill]:
    if a.startend_row_indices is None or a.dropout or a.window_size is not None or a.return_softmax_lse:
        raise Refusal("flashmask_attention without bounds, or with dropout, a window or statistics")
    if not a.causal or shape_of(a.startend_row_indices)[-1] != 1:
        raise Refusal("flashmask_attention with more than one bound a column")
    return {"startend_row_indices": index(shape_of(a.query)[1] + 1)}


def _flashmask(a: Arguments) -> Operand:
    operands = [a.query, a.key, a.value, a.startend_row_indices]
    return catalogue.get("flashmask_attention").oracle(operands, {"causal": a.causal})[0]


add(
    "nn.functional.flashmask_attention",
    "flashmask_attention",
    signature(
        "query",
        "key",
        "value",
        startend_row_indices=None,
        dropout=0.0,
        causal=False,
        window_size=None,
        return_softmax_lse=False,
        return_seed_offset=False,
        fixed_seed_offset=None,
        rng_name="",
        training=True,
        name=None,
    ),
    _flashmask,
    kernels=lambda a: [kernel("flashmask_attention", a.query.dtype)],
    fills=_flashmask_fills,
)


def _layer_norm_fills(a: Arguments) -> dict[str, Fill]:
    if a.weight is None or a.bias is None:
        raise Refusal("layer_norm without weight or bias")
    return {}


add(
    "nn.functional.layer_norm",
    "layer_norm",
    signature("x", "normalized_shape", weight=None, bias=None, epsilon=1e-5, name=None),
    lambda a: catalogued(
        "layer_norm", a.x, a.weight, a.bias, normalized_shape=_axes_list(a.normalized_shape), epsilon=a.epsilon
    ),
    fills=_layer_norm_fills,
)


def _axes_list(sides: Any) -> list[int]:
    return [int(side) for side in np.asarray(sides).reshape(-1)]
