"""Attention as a model server calls it: padded sequences, a cache for one token at a time, a cache in pages.

What a kernel leaves in rows that no sequence owns is its own affair; the entries judge the others. Where numbers pass
through a cache, or through qkv as an output, they are rounded to storage once more. How keys lie in a cache is left to
the device too: it has only to find them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.attention import LEFT_OUT, attention
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []

EVERY = np.ones((1, 1), bool)


def _lengths(values: Sequence[int]) -> dict[str, Any]:
    return tensor([len(values), 1], "listed", "int32", values=list(values))


def _functional(paddle: Any) -> Any:
    return paddle.incubate.nn.functional


# ---- the longest sequences ------------------------------------------------------------------------------------------


def _longest(encoder: Sequence[int], decoder: Sequence[int]) -> Description:
    return describe(_lengths(encoder), _lengths(decoder), tensor([len(encoder)], "constant", "float32", value=1.0))


def _largest(x: Array) -> Array:
    return np.array([max(0, int(x.max(initial=0)))], "int32")


register(
    OperatorSpec(
        name="blha_get_max_len",
        call=lambda paddle, t, a: list(_functional(paddle).blha_get_max_len(*t)),
        oracle=lambda x, a: [_largest(value_of(x[0])), _largest(value_of(x[1]))],
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            lambda pairs: _longest(*zip(*pairs, strict=True)),
            st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1, max_size=40),
        ),
        corners=lambda dtype: [
            _longest([7], [0]),
            _longest([0, 0, 3], [9, 1, 0]),
            _longest(list(range(300)), list(range(300, 0, -1))),
        ],
        dtypes=(),
        offered=("int32",),
        aliases=("paddle.incubate.nn.functional.blha_get_max_len",),
    )
)


# ---- padded sequences -----------------------------------------------------------------------------------------------


def _padded(
    lengths: Sequence[Sequence[int]],
    heads: Sequence[int],
    size: int,
    causal: bool = False,
    masked: bool = False,
    pre_cache: int = 0,
) -> Description:
    """``lengths``: queries and keys of each sequence, the keys without a pre-cache. ``heads``: of queries, of keys."""
    rows, columns = max(m for m, _ in lengths), max(n for _, n in lengths) + pre_cache
    kv = tensor([len(lengths), heads[1], columns, size], "unit")
    inputs = [tensor([len(lengths), heads[0], rows, size]), kv, dict(kv), *map(_lengths, zip(*lengths, strict=True))]
    if masked:  # one for all heads: Paddle refuses others
        inputs.append(tensor([len(lengths), 1, rows, columns], "masked"))
    return describe(*inputs, causal=causal, pre_cache=pre_cache, queries=[m for m, _ in lengths])


def _padded_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    out = _functional(paddle).variable_length_memory_efficient_attention(
        t[0], t[1], t[2], t[3], t[4], t[5] if len(t) > 5 else None, None, a["causal"], a["pre_cache"]
    )
    return [out[i, :, :m] for i, m in enumerate(a["queries"])]


def _padded_oracle(x: list[Operand], a: Attributes) -> list[Operand]:
    results = []
    scale = float(np.float32(x[0].shape[-1] ** -0.5))
    for i, (m, n) in enumerate(zip(value_of(x[3]).reshape(-1), value_of(x[4]).reshape(-1), strict=True)):
        n = n + a["pre_cache"]
        parts = (x[0][i : i + 1, :, :m], x[1][i : i + 1, :, :n], x[2][i : i + 1, :, :n])
        q, k, v = (b.move(lambda part: np.swapaxes(part, 1, 2), part) for part in parts)
        added = x[5][i : i + 1, :, :m, :n] if len(x) > 5 else None
        allowed = np.tri(m, n, dtype=bool) if a["causal"] else EVERY
        result = attention(q, k, v, scale, allowed, added)
        results.append(b.move(lambda v: np.swapaxes(v[0], 0, 1), result))
    return results


register(
    OperatorSpec(
        name="variable_length_memory_efficient_attention",
        call=_padded_call,
        oracle=_padded_oracle,
        kind=Kind.ATTENTION,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            _padded,
            st.lists(st.tuples(st.integers(1, 70), st.integers(1, 140)), min_size=1, max_size=3),
            st.sampled_from([(2, 2), (6, 2), (3, 1)]),
            st.sampled_from([8, 16, 40]),
            st.booleans(),
            st.booleans(),
            st.sampled_from([0, 0, 5]),
        ),
        corners=lambda dtype: [
            _padded([(1, 1)], (1, 1), 8),
            _padded([(33, 33), (7, 7), (64, 64)], (4, 2), 16, causal=True),
            _padded([(9, 130), (20, 3)], (4, 4), 32, masked=True),
            _padded([(9, 9), (20, 20)], (2, 2), 16, masked=True, pre_cache=7),
        ],
        dtypes=(),
        offered=("float32", "float16", "bfloat16"),
        aliases=("paddle.incubate.nn.functional.variable_length_memory_efficient_attention",),
    )
)


# ---- rotation -------------------------------------------------------------------------------------------------------


def _pair(left: Tracked, right: Tracked, neox: bool) -> Tracked:
    def put(x: Array, y: Array) -> Array:
        if neox:
            return np.concatenate([x, y], -1)
        return np.stack([x, y], -1).reshape(*x.shape[:-1], 2 * x.shape[-1])

    return b.move(put, left, right)  # type: ignore[no-any-return]


def _halves(x: Any, neox: bool) -> tuple[Any, Any]:
    """The first and the second number of each pair along the last axis."""
    half = x.shape[-1] // 2
    return (x[..., :half], x[..., half:]) if neox else (x[..., 0::2], x[..., 1::2])


def _rotated(x: Tracked, cosines: Operand, sines: Operand, neox: bool) -> Tracked:
    """Pairs of x turned; the angles have x's last axis, and are broadcast along the others."""
    left, right = _halves(x, neox)
    (cos_left, cos_right), (sin_left, sin_right) = _halves(cosines, neox), _halves(sines, neox)
    return _pair(left * cos_left - right * sin_left, right * cos_right + left * sin_right, neox)


# ---- one token at a time --------------------------------------------------------------------------------------------


def _tokens(
    batch: int, steps: int, heads: Sequence[int], size: int, rotation: str | None = None, bias: bool = False
) -> Description:
    width = (heads[0] + 2 * heads[1]) * size
    inputs = [tensor([batch, width], "unit") for _ in range(steps)]
    if rotation is not None:
        inputs += [tensor([2, batch, 1, 1, size], "unit", "float32") for _ in range(steps)]
    if bias:
        inputs.append(tensor([width], "unit"))
    return describe(*inputs, steps=steps, heads=list(heads), size=size, rotation=rotation, bias=bias)


def _tokens_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    steps, rotation = a["steps"], a["rotation"]
    batch = t[0].shape[0]
    cache = paddle.zeros([2, batch, a["heads"][1], steps, a["size"]], t[0].dtype)
    results = []
    for i in range(steps):
        out, cache, *_ = _functional(paddle).masked_multihead_attention(
            t[i],
            cache,
            bias=t[-1] if a["bias"] else None,
            sequence_lengths=paddle.full([batch, 1], i, "int32"),
            rotary_tensor=None if rotation is None else t[steps + i],
            rotary_emb_dims=0 if rotation is None else 1,
            use_neox_rotary_style=rotation == "neox",
        )
        results.append(out)
    return results


def _parts(rows: Tracked, a: Attributes) -> tuple[Tracked, Tracked, Tracked]:
    """Queries, keys and values [rows, heads, size] of rows of qkv."""
    heads, kv_heads = a["heads"]
    split = rows.reshape(rows.shape[0], heads + 2 * kv_heads, a["size"])
    return split[:, :heads], split[:, heads : heads + kv_heads], split[:, heads + kv_heads :]


def _biased(rows: Tracked, bias: Tracked | None) -> Tracked:
    return rows if bias is None else (rows + bias).stored()


def _tokens_oracle(x: list[Operand], a: Attributes) -> list[Operand]:
    keys, values, results = [], [], []
    steps, rotation, bias = a["steps"], a["rotation"], x[-1] if a["bias"] else None
    for i in range(steps):
        q, k, v = _parts(_biased(x[i], bias), a)
        if rotation is not None:
            table = x[steps + i].reshape(2, -1, 1, a["size"])
            q, k = (_rotated(part, table[0], table[1], rotation == "neox").stored() for part in (q, k))
        keys.append(k.stored())
        values.append(v.stored())
        all_keys, all_values = (b.move(lambda *parts: np.stack(parts, 1), *kept) for kept in (keys, values))
        query = q.reshape(q.shape[0], 1, *q.shape[1:])
        out = attention(query, all_keys, all_values, float(np.float32(a["size"] ** -0.5)), EVERY)
        results.append(out.reshape(q.shape[0], -1))
    return results


register(
    OperatorSpec(
        name="masked_multihead_attention",
        call=_tokens_call,
        oracle=_tokens_oracle,
        kind=Kind.ATTENTION,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            _tokens,
            st.integers(1, 3),
            st.integers(1, 6),
            st.sampled_from([(2, 2), (4, 2), (3, 1)]),
            st.sampled_from([16, 32]),
            st.sampled_from([None, "neighbours", "neox"]),
            st.booleans(),
        ),
        corners=lambda dtype: [
            _tokens(2, 5, (4, 4), 32),
            _tokens(2, 4, (4, 2), 64, "neox", True),
            _tokens(1, 4, (2, 2), 32, "neighbours", True),
        ],
        dtypes=(),
        offered=("float32", "float16", "bfloat16"),
        aliases=("paddle.incubate.nn.functional.masked_multihead_attention",),
    )
)


# ---- a cache in pages -----------------------------------------------------------------------------------------------

PAGE = 64
THETA = 10000.0


def _paged(
    lengths: Sequence[int], steps: int, heads: Sequence[int], size: int, rotation: str | None, bias: bool = False
) -> Description:
    """Prefill of sequences of these lengths, then ``steps`` more tokens of each."""
    width = (heads[0] + 2 * heads[1]) * size
    inputs = [tensor([sum(lengths), width], "unit"), *[tensor([len(lengths), width], "unit") for _ in range(steps)]]
    if bias:
        inputs.append(tensor([width], "unit"))
    return describe(
        *inputs, lengths=list(lengths), steps=steps, heads=list(heads), size=size, rotation=rotation, bias=bias
    )


def _angles(a: Attributes) -> Array:
    """Of each position and number of a head."""
    positions, half = max(a["lengths"]) + a["steps"], a["size"] // 2
    angles = np.arange(positions)[:, None] / THETA ** (np.arange(half) / half)
    return np.asarray(np.concatenate([angles, angles], -1) if a["rotation"] == "neox" else np.repeat(angles, 2, -1))


def _rope(a: Attributes) -> Array | None:
    """As Paddle wants it: [2, 1, positions, 1, size], or half of size for neighbours."""
    if a["rotation"] is None:
        return None
    angles = _angles(a) if a["rotation"] == "neox" else _angles(a)[:, ::2]
    return np.asarray(np.stack([np.cos(angles), np.sin(angles)])[:, None, :, None], "float32")


def _packed(rows: Sequence[int], longest: int) -> dict[str, Array]:
    """Where the tokens of each sequence lie, in the four ways that Paddle wants to be told."""
    ends = np.cumsum(rows)
    before = ends - rows
    offsets = np.arange(len(rows)) * longest - before
    return {
        "padding_offsets": np.repeat(offsets, rows).astype("int32"),
        "cum_offsets": offsets.astype("int32"),
        "cu_seqlens_q": np.concatenate([[0], ends]).astype("int32"),
        "cu_seqlens_k": np.concatenate([[0], ends]).astype("int32"),
    }


def _paged_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    lengths, steps = a["lengths"], a["steps"]
    batch, longest = len(lengths), max(lengths) + steps
    pages = -(-longest // PAGE)
    table = np.random.default_rng(batch).permutation(batch * pages).reshape(batch, pages)
    caches = [paddle.full([batch * pages, a["heads"][1], PAGE, a["size"]], 3.0, t[0].dtype) for _ in range(2)]
    rope = _rope(a)
    shared = {
        "block_tables": paddle.to_tensor(table.astype("int32")),
        "qkv_bias": t[-1] if a["bias"] else None,
        "rope_emb": None if rope is None else paddle.to_tensor(rope),
    }
    results = []
    for i in range(steps + 1):
        rows = [1] * batch if i else lengths
        counts = {
            "seq_lens_encoder": [0] * batch if i else lengths,
            "seq_lens_decoder": [n + i - 1 for n in lengths] if i else [0] * batch,
            "seq_lens_this_time": rows,
        }
        tensors = {name: paddle.to_tensor(np.array(value, "int32")[:, None]) for name, value in counts.items()}
        tensors |= {name: paddle.to_tensor(value) for name, value in _packed(rows, longest).items()}
        out = _functional(paddle).block_multihead_attention(
            t[i].clone(),  # it is written into
            *caches,
            **tensors,
            **shared,
            max_seq_len=longest,
            block_size=PAGE,
            use_neox_style=a["rotation"] == "neox",
            rope_theta=THETA,
        )
        results.append(out[0])
    return results


def _turned(x: Tracked, positions: slice, a: Attributes) -> Tracked:
    """x [rows, heads, size] at these positions. A kernel may take angles from the table or compute them in float32:
    a position times a frequency is then off by its own rounding."""
    if a["rotation"] is None:
        return x
    angles = _angles(a)[positions]
    doubt = 4 * 2.0**-24 * (1 + angles[:, None])
    cosines, sines = (Tracked(f(angles)[:, None], x.arithmetic, doubt) for f in (np.cos, np.sin))
    return _rotated(x, cosines, sines, a["rotation"] == "neox").stored()


def _causal(q: Tracked, k: Tracked, v: Tracked, past: int, a: Attributes) -> Tracked:
    """q [rows, heads, size] after ``past`` tokens, k and v of all of them: [rows, heads * size]."""
    allowed = np.tri(q.shape[0], k.shape[0], past, dtype=bool)
    q, k, v = (x.reshape(1, *x.shape) for x in (q, k, v))
    return attention(q, k, v, float(np.float32(a["size"] ** -0.5)), allowed).reshape(q.shape[1], -1)


def _joined(parts: Sequence[Tracked]) -> Tracked:
    return b.move(lambda *values: np.concatenate(values), *parts)  # type: ignore[no-any-return]


def _paged_oracle(x: list[Operand], a: Attributes) -> list[Operand]:
    lengths, bias = a["lengths"], x[-1] if a["bias"] else None
    caches: list[tuple[Tracked, Tracked]] = []
    results: list[Operand] = []
    for i in range(a["steps"] + 1):
        rows, parts = [1] * len(lengths) if i else lengths, []
        ends = np.cumsum(rows)
        for s, (end, count) in enumerate(zip(ends, rows, strict=True)):
            past = lengths[s] + i - 1 if i else 0
            q, k, v = _parts(_biased(x[i][end - count : end], bias), a)
            q, k = (_turned(part, slice(past, past + count), a) for part in (q, k))
            own = (k.stored(), v.stored())
            if i:
                caches[s] = (_joined([caches[s][0], own[0]]), _joined([caches[s][1], own[1]]))
            else:
                caches.append(own)
            parts.append(_causal(q, *caches[s], past, a))
        results.append(_joined(parts))
    return results


register(
    OperatorSpec(
        name="block_multihead_attention",
        call=_paged_call,
        oracle=_paged_oracle,
        kind=Kind.ATTENTION,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            _paged,
            st.lists(st.integers(1, 40), min_size=1, max_size=3),
            st.integers(1, 3),
            st.sampled_from([(2, 2), (4, 2)]),
            st.just(64),
            st.sampled_from([None, "neighbours", "neox"]),
            st.booleans(),
        ),
        corners=lambda dtype: [
            _paged([5, 1, 9], 3, (4, 4), 64, None),
            _paged([62, 70], 3, (4, 2), 64, "neox", True),
            _paged([3, 20], 2, (2, 2), 64, "neighbours", True),
        ],
        dtypes=(),
        offered=("float32", "float16", "bfloat16"),
        static=False,
        aliases=("paddle.incubate.nn.functional.block_multihead_attention",),
    )
)
