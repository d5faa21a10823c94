"""Fused attention.

The oracle is attention by the whole matrix of probabilities. Its limits allow what every flash attention does: weights
relative to a peak and probabilities recomputed from a float32 logarithm are rounded to the operands' dtype before they
are multiplied (T. Dao, "FlashAttention-2", 2023, algorithms 1 and 2), and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__ = ["LEFT_OUT", "attention"]


LEFT_OUT = {"wide_range": "scores of 2^40 and more are rounded by more than 1: their softmax is not determined"}


def _flip(x: Tracked) -> Tracked:
    return b.move(lambda v: np.swapaxes(v, -1, -2), x)  # type: ignore[no-any-return]


def _heads_first(x: Tracked, group: int = 1) -> Tracked:
    """[batch, rows, heads, dim] to [batch, heads * group, rows, dim], each head ``group`` times."""
    return b.move(lambda v: np.repeat(np.swapaxes(v, 1, 2), group, axis=1), x)  # type: ignore[no-any-return]


def _rows_first(x: Tracked) -> Tracked:
    return b.move(lambda v: np.swapaxes(v, 1, 2), x)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Weights:
    """exp(scores - peak), its sum over columns, and the scores with their logarithm, all [batch, heads, rows, ...]."""

    powers: Tracked
    total: Tracked
    scores: Tracked
    peak: Array

    def share(self, x: Tracked) -> Tracked:
        """``x`` over the sum of exponentials; 0 in rows that attend to nothing."""
        return b.select(self.total.value != 0, x / self.total, np.zeros_like(x.value))  # type: ignore[no-any-return]

    def probabilities(self) -> Tracked:
        """From the logarithm of the sum, as a backward pass recomputes them."""
        logarithm = b.log(self.total) + self.peak
        return b.select(  # type: ignore[no-any-return]
            self.total.value != 0, b.exp(self.scores - logarithm), np.zeros_like(self.scores.value)
        )


def _weights(q: Tracked, k: Tracked, scale: float, allowed: Array, added: Operand | None) -> _Weights:
    scores = b.dot(q, _flip(k)) * scale
    if added is not None:
        scores = scores + added
    scores = b.select(np.broadcast_to(allowed, scores.shape), scores, np.full(scores.shape, -np.inf))
    peak = np.max(scores.value, axis=-1, keepdims=True, initial=-np.inf)
    peak = np.where(np.isneginf(peak), 0.0, peak)
    powers = b.exp(scores - Tracked(peak, scores.arithmetic))
    return _Weights(powers, b.total(powers, (-1,), True), scores, peak)


def attention(
    q: Tracked, k: Tracked, v: Tracked, scale: float, allowed: Array, added: Operand | None = None
) -> Tracked:
    """q [batch, rows, heads, dim], k and v [batch, columns, kv_heads, ...]; ``allowed`` is broadcast to the scores."""
    group = q.shape[2] // k.shape[2]
    weights = _weights(_heads_first(q), _heads_first(k, group), scale, allowed, added)
    return _rows_first(weights.share(b.dot(weights.powers.stored(), _heads_first(v, group))))


def attention_gradient(
    q: Tracked,
    k: Tracked,
    v: Tracked,
    out: Tracked,
    flow: Tracked,
    scale: float,
    allowed: Array,
    added: Operand | None = None,
) -> tuple[Tracked, Tracked, Tracked, Tracked]:
    """Gradients of q, k, v and of what was added to the scores (not summed over its broadcast axes)."""
    group = q.shape[2] // k.shape[2]
    queries, keys, values = _heads_first(q), _heads_first(k, group), _heads_first(v, group)
    flows = _heads_first(flow)
    p = _weights(queries, keys, scale, allowed, added).probabilities()
    delta = b.total(flows * _heads_first(out), (-1,), True)
    slope = p * (b.dot(flows, _flip(values)) - delta)
    scaled = (slope * scale).stored()

    def of_group(x: Tracked) -> Tracked:
        """Heads that share one head of k and v stand below each other."""
        shape = (x.shape[0], k.shape[2], group * x.shape[2], x.shape[3])
        return b.move(lambda value: value.reshape(shape), x)  # type: ignore[no-any-return]

    to_k = b.dot(_flip(of_group(scaled)), of_group(queries))
    to_v = b.dot(_flip(of_group(p.stored())), of_group(flows))
    return _rows_first(b.dot(scaled, keys)), _rows_first(to_k), _rows_first(to_v), slope


def _scale(x: Sequence[Operand]) -> float:
    return float(np.float32(value_of(x[0]).shape[-1] ** -0.5))


def _triangle(rows: int, columns: int, causal: bool, diagonal: int) -> Array:
    below = np.arange(columns) < np.arange(rows)[:, None] + diagonal
    return below if causal else np.ones_like(below)


def _bottom_right(x: Sequence[Operand], a: Attributes) -> Array:
    """Causal with the last row attending to every column, as flash attention since its version 2.1."""
    rows, columns = value_of(x[0]).shape[-3], value_of(x[1]).shape[-3]
    return _triangle(rows, columns, a["causal"], columns - rows + 1)


def _shapes(batch: int, rows: int, columns: int, heads: int, kv_heads: int, dim: int) -> list[dict[str, Any]]:
    """Operands of unit size: scores of ten times larger ones would all be 0 or 1."""
    kv = tensor([batch, columns, kv_heads, dim], "unit")
    return [tensor([batch, rows, heads, dim], "normal"), kv, dict(kv)]


SIZES: tuple[tuple[int, ...], ...] = (
    (1, 1, 1, 1, 1, 8),
    (2, 7, 7, 4, 2, 8),
    (1, 33, 70, 3, 1, 16),
    (2, 40, 40, 2, 2, 64),
    (1, 130, 600, 2, 1, 32),
)
"""batch, rows, columns, heads, kv_heads, dim"""


@st.composite
def _sizes(draw: st.DrawFn) -> tuple[int, ...]:
    kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rows = draw(st.integers(1, 70))
    columns = draw(st.sampled_from([rows, rows + 5, 2 * rows]))
    return draw(st.integers(1, 2)), rows, columns, kv_heads * group, kv_heads, draw(st.sampled_from([8, 16, 40]))


def _flash(size: Sequence[int], causal: bool) -> Description:
    return describe(*_shapes(*size), causal=causal)


def _flash_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    return paddle.nn.functional.flash_attention.flash_attention(t[0], t[1], t[2], causal=a["causal"])[0]


register(
    OperatorSpec(
        name="flash_attn",
        call=_flash_call,
        oracle=lambda x, a: [attention(x[0], x[1], x[2], _scale(x), _bottom_right(x, a))],
        gradient=lambda x, out, d, a: list(
            attention_gradient(x[0], x[1], x[2], out[0], d[0], _scale(x), _bottom_right(x, a))[:3]
        ),
        kind=Kind.ATTENTION,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(_flash, _sizes(), st.booleans()),
        corners=lambda dtype: [_flash(size, causal) for size in SIZES for causal in (False, True)],
        offered=("float16", "bfloat16"),
        aliases=("paddle.nn.functional.flash_attention.flash_attention",),
    )
)


def _masked(size: Sequence[int], mask: Sequence[int], regime: str = "masked") -> Description:
    return describe(*_shapes(*size), tensor(mask, regime))


def _masked_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    return paddle.nn.functional.scaled_dot_product_attention(t[0], t[1], t[2], attn_mask=t[3])


def _masked_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand | None]:
    parts = attention_gradient(x[0], x[1], x[2], out[0], d[0], _scale(x), np.ones((1, 1), bool), x[3])
    return [*parts[:3], None]


register(
    OperatorSpec(
        name="flash_attn_mask",
        call=_masked_call,
        oracle=lambda x, a: [attention(x[0], x[1], x[2], _scale(x), np.ones((1, 1), bool), x[3])],
        gradient=_masked_gradient,
        kind=Kind.ATTENTION,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            lambda size, regime: _masked(size, (size[0], 1, size[1], size[2]), regime),
            _sizes(),
            st.sampled_from(["masked", "normal"]),
        ),
        corners=lambda dtype: [
            _masked((2, 7, 9, 4, 2, 8), (2, 4, 7, 9)),
            _masked((2, 7, 9, 4, 2, 8), (2, 1, 7, 9), "normal"),
            _masked((1, 5, 6, 2, 1, 8), (1, 2, 5, 6), "normal"),
            _masked((1, 33, 600, 2, 2, 16), (1, 1, 33, 600)),
        ],
        kernels=lambda a, dtype: (Kernel(("flash_attn",), dtype),),
        grad_kernels=lambda a, dtype: (Kernel(("flash_attn_grad",), dtype),),
        offered=("float16", "bfloat16"),
        aliases=("paddle.nn.functional.scaled_dot_product_attention",),
    )
)


def _bounds_of(lengths: Sequence[int]) -> list[int]:
    return [int(n) for n in np.cumsum([0, *lengths])]


def _unpadded(rows: Sequence[int], columns: Sequence[int], heads: int, kv_heads: int, causal: bool) -> Description:
    q_bounds, k_bounds = _bounds_of(rows), _bounds_of(columns)
    kv = tensor([k_bounds[-1], kv_heads, 8], "unit")
    limits = [tensor([len(v)], "listed", "int32", values=v) for v in (q_bounds, k_bounds)]
    q = tensor([q_bounds[-1], heads, 8], "normal")
    return describe(q, kv, dict(kv), *limits, causal=causal, longest=[max(rows), max(columns)], scale=0.25)


def _unpadded_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    return paddle.nn.functional.flash_attention.flash_attn_unpadded(
        t[0], t[1], t[2], t[3], t[4], a["longest"][0], a["longest"][1], a["scale"], causal=a["causal"]
    )[0]


def _one_by_one(x: Sequence[Operand]) -> list[tuple[slice, slice]]:
    """Rows of q and of k of each sequence."""
    q_bounds, k_bounds = (value_of(part).tolist() for part in x[3:5])
    return [
        (slice(q_bounds[i], q_bounds[i + 1]), slice(k_bounds[i], k_bounds[i + 1])) for i in range(len(q_bounds) - 1)
    ]


def _joined(parts: Sequence[Tracked]) -> Operand:
    """One sequence after another, each a batch of its own."""
    return b.move(lambda *values: np.concatenate([v[0] for v in values]), *parts)


def _unpadded_oracle(x: list[Operand], a: Attributes) -> list[Operand]:
    results = []
    for rows, columns in _one_by_one(x):
        q, k, v = x[0][rows][None], x[1][columns][None], x[2][columns][None]
        results.append(attention(q, k, v, a["scale"], _bottom_right([q, k], a)))
    return [_joined(results)]


def _unpadded_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand | None]:
    results = []
    for rows, columns in _one_by_one(x):
        q, k, v = x[0][rows][None], x[1][columns][None], x[2][columns][None]
        made, flow = out[0][rows][None], d[0][rows][None]
        results.append(attention_gradient(q, k, v, made, flow, a["scale"], _bottom_right([q, k], a))[:3])
    return [*(_joined(parts) for parts in zip(*results, strict=True)), None, None]


register(
    OperatorSpec(
        name="flash_attn_unpadded",
        call=_unpadded_call,
        oracle=_unpadded_oracle,
        gradient=_unpadded_gradient,
        kind=Kind.ATTENTION,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            lambda rows, more, causal: _unpadded(rows, [n + more for n in rows], 4, 2, causal),
            st.lists(st.integers(1, 40), min_size=1, max_size=4),
            st.integers(0, 5),
            st.booleans(),
        ),
        corners=lambda dtype: [
            _unpadded([5, 40, 3], [7, 40, 9], 4, 2, True),
            _unpadded([5, 40, 3], [7, 40, 9], 4, 2, False),
            _unpadded([130], [600], 2, 2, True),
            _unpadded([1, 1, 1], [9, 1, 70], 6, 1, False),
        ],
        offered=("float16", "bfloat16"),
        aliases=("paddle.nn.functional.flash_attention.flash_attn_unpadded",),
    )
)


def _flashmask(size: Sequence[int], causal: bool, width: int, bound_heads: int = 1, seed: int = 0) -> Description:
    batch, rows, columns = size[:3]
    drawn = np.random.default_rng(seed).integers(0, rows + 1, (batch, bound_heads, columns, width))
    bounds = np.sort(drawn, axis=-1)
    if width == 2 and not causal:
        bounds = bounds[..., ::-1]  # from the first on, and below the second
    if width == 4:
        bounds = bounds[..., [2, 3, 0, 1]]
    startend = tensor(bounds.shape, "listed", "int32", values=bounds.reshape(-1).tolist())
    return describe(*_shapes(*size), startend, causal=causal)


def _flashmask_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    return paddle.nn.functional.flashmask_attention(t[0], t[1], t[2], t[3], causal=a["causal"])


def _within_bounds(x: Sequence[Operand], a: Attributes) -> Array:
    """As the documentation of paddle.nn.functional.flashmask_attention defines the numbers of a column."""
    heads, rows = value_of(x[0]).shape[2], value_of(x[0]).shape[1]
    bounds = value_of(x[3])
    bounds = np.repeat(bounds, heads // bounds.shape[1], axis=1)[:, :, None]  # [batch, heads, 1, columns, width]
    i = np.arange(rows)[:, None]
    part = [bounds[..., n] for n in range(bounds.shape[-1])]
    if len(part) == 1:
        forbidden = i >= part[0]
    elif len(part) == 2:
        forbidden = (i >= part[0]) & (i < part[1]) if a["causal"] else (i >= part[0]) | (i < part[1])
    else:
        forbidden = ((i >= part[0]) & (i < part[1])) | ((i >= part[2]) & (i < part[3]))
    return np.asarray(~forbidden & _bottom_right(x, a))


register(
    OperatorSpec(
        name="flashmask_attention",
        call=_flashmask_call,
        oracle=lambda x, a: [attention(x[0], x[1], x[2], _scale(x), _within_bounds(x, a))],
        gradient=lambda x, out, d, a: [
            *attention_gradient(x[0], x[1], x[2], out[0], d[0], _scale(x), _within_bounds(x, a))[:3],
            None,
        ],
        kind=Kind.ATTENTION,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            lambda size, form, seed: _flashmask((*size[:2], size[1], *size[3:]), form[0], form[1], seed=seed),
            _sizes(),
            st.sampled_from([(True, 1), (True, 2), (False, 2), (False, 4)]),
            st.integers(0, 9),
        ),
        corners=lambda dtype: [
            _flashmask((2, 40, 40, 4, 2, 8), causal, width, heads)
            for causal, width in ((True, 1), (True, 2), (False, 2), (False, 4))
            for heads in (1, 2)
        ],
        offered=("float16", "bfloat16"),
        aliases=("paddle.nn.functional.flashmask_attention",),
    )
)


def _efficient_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    from paddle.incubate.nn.attn_bias import LowerTriangularMask
    from paddle.incubate.nn.memory_efficient_attention import memory_efficient_attention

    bias = LowerTriangularMask() if a["causal"] else t[3] if len(t) > 3 else None
    return memory_efficient_attention(t[0], t[1], t[2], attn_bias=bias)


def _top_left(x: Sequence[Operand], a: Attributes) -> Array:
    return _triangle(value_of(x[0]).shape[1], value_of(x[1]).shape[1], a["causal"], 1)


def _bias(x: Sequence[Operand]) -> Operand | None:
    return x[3] if len(x) > 3 else None


def _efficient_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand | None]:
    parts = attention_gradient(x[0], x[1], x[2], out[0], d[0], _scale(x), _top_left(x, a), _bias(x))
    return list(parts[: len(x)])


def _efficient(size: Sequence[int], causal: bool = False, bias: bool = False) -> Description:
    batch, rows, columns, heads, _, dim = size
    added = [tensor([batch, heads, rows, columns])] if bias else []
    return describe(*_shapes(batch, rows, columns, heads, heads, dim), *added, causal=causal)


register(
    OperatorSpec(
        name="memory_efficient_attention",
        call=_efficient_call,
        oracle=lambda x, a: [attention(x[0], x[1], x[2], _scale(x), _top_left(x, a), _bias(x))],
        gradient=_efficient_gradient,
        kind=Kind.ATTENTION,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(_efficient, _sizes(), st.booleans()),
        corners=lambda dtype: [
            _efficient((1, 33, 33, 3, 3, 16), causal=True),
            _efficient((2, 40, 70, 2, 2, 8)),
            _efficient((2, 9, 21, 2, 2, 8), bias=True),
        ],
        offered=("float16", "bfloat16"),
        aliases=("paddle.incubate.nn.memory_efficient_attention.memory_efficient_attention",),
    )
)
