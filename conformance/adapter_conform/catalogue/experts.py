"""Mixture of experts: tokens sent to experts, products by groups, results gathered again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, value_of
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []

_OFFERED = ("float32", "float16", "bfloat16")


def _placed(gate: Array, a: Attributes) -> tuple[Array, Array, Array]:
    """Of each token and choice: the expert, and the row of its buffer or -1. Also how many choices each expert got."""
    tokens, experts = gate.shape
    chosen = np.argsort(-gate, axis=1, kind="stable")[:, : a["k"]]
    rows = np.full(chosen.shape, -1)
    taken = [0] * experts
    for slot in range(a["k"]):
        for token in range(tokens):
            expert = chosen[token, slot]
            if taken[expert] < a["capacity"]:
                rows[token, slot] = expert * a["capacity"] + taken[expert]
            taken[expert] += 1
    return chosen, rows, np.asarray(taken)


def _dispatch(x: list[Operand], a: Attributes) -> list[Operand]:
    gate = value_of(x[1])
    chosen, rows, taken = _placed(gate, a)
    used = rows >= 0

    def buffers(values: Array) -> Array:
        result = np.zeros((gate.shape[1] * a["capacity"], values.shape[1]), values.dtype)
        result[rows[used]] = values[np.nonzero(used)[0]]
        return result

    weights = b.move(lambda v: np.where(used, np.take_along_axis(v, chosen, 1), 0.0), x[1])
    scatter = np.where(used, rows, 0).T.astype(np.int32)
    return [b.move(buffers, x[0]), weights, scatter, taken.cumsum().astype(np.int64), chosen.astype(np.int32)]


def _dispatch_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    gate = value_of(x[1])
    chosen, rows, _ = _placed(gate, a)
    used = rows >= 0
    copies = b.move(lambda g: np.where(used[..., None], g[np.maximum(rows, 0)], 0.0), d[0])

    def scattered(flow: Array) -> Array:
        result = np.zeros(gate.shape)
        np.put_along_axis(result, chosen, np.where(used, flow, 0.0), 1)
        return result

    return [b.total(copies, (1,)), b.move(scattered, d[1])]


def _gated(tokens: int, width: int, experts: int, k: int, capacity: int) -> Description:
    return describe(
        tensor([tokens, width]),
        tensor([tokens, experts], "positive", "float32"),
        k=min(k, experts),
        capacity=capacity,
    )


register(
    OperatorSpec(
        name="moe_gate_dispatch",
        call=lambda paddle, t, a: list(
            paddle.incubate.nn.functional.moe_gate_dispatch(t[0], t[1], None, a["k"], a["capacity"], True)
        ),
        oracle=_dispatch,
        gradient=_dispatch_gradient,
        result_dtypes=lambda a, dtype: (dtype, "float32", "int32", "int64", "int32"),
        kind=Kind.REDUCTION,
        examples=lambda dtype: st.builds(
            _gated, st.integers(1, 12), st.integers(1, 9), st.integers(2, 6), st.integers(1, 3), st.integers(1, 6)
        ),
        corners=lambda dtype: [_gated(8, 4, 4, 2, 4), _gated(30, 7, 3, 2, 5), _gated(1, 1, 2, 1, 1)],
        dtypes=(),
        offered=("float32",),
        static=False,
        aliases=("paddle.incubate.nn.functional.moe_gate_dispatch",),
    )
)


def _combined(x: list[Operand], a: Attributes) -> list[Operand]:
    index = value_of(x[2])
    rows = b.move(lambda v: v[index], x[0])
    return [b.total(rows * b.move(lambda w: w[..., None], x[1]), (1,))]


def _combine_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    """The rows' gradient. Paddle gives the weights' before its sum over the row, in a shape of its own: not judged."""
    index = value_of(x[2])
    flow = b.move(lambda g: g[:, None], d[0]) * b.move(lambda w: w[..., None], x[1])
    width = value_of(x[0]).shape[1]
    places = index[..., None] * width + np.arange(width)
    return [b.scatter_sum(value_of(x[0]).size, places, flow).reshape(value_of(x[0]).shape), None, None]


def _weighted(tokens: int, k: int, width: int) -> Description:
    rows = tokens * k + 2
    index = tensor([tokens, k], "unique", "int32", high=rows)
    return describe(tensor([rows, width]), tensor([tokens, k], "near_one"), index)


register(
    OperatorSpec(
        name="moe_combine",
        call=lambda paddle, t, a: paddle.incubate.nn.functional.moe_combine(t[0], t[1], t[2]),
        oracle=_combined,
        gradient=_combine_gradient,
        kind=Kind.REDUCTION,
        examples=lambda dtype: st.builds(_weighted, st.integers(1, 9), st.integers(1, 4), st.integers(1, 17)),
        corners=lambda dtype: [_weighted(4, 2, 8), _weighted(1, 1, 1), _weighted(16, 4, 64)],
        dtypes=(),
        offered=_OFFERED,
        static=False,
        aliases=("paddle.incubate.nn.functional.moe_combine",),
    )
)


def _grouped(x: list[Operand], a: Attributes) -> list[Operand]:
    ends = np.cumsum([0, *a["sizes"]])
    stretches = list(pairwise(ends))
    if a["trans_lhs"]:
        parts = [b.dot(b.move(np.transpose, x[0][i:j]), x[1][i:j]) for i, j in stretches]
        return [b.move(lambda *values: np.stack(values), *parts)]
    matrices = [b.move(np.transpose, x[1][g]) if a["trans_rhs"] else x[1][g] for g in range(len(stretches))]
    parts = [b.dot(x[0][i:j], m) for (i, j), m in zip(stretches, matrices, strict=True)]
    return [b.move(lambda *values: np.concatenate(values), *parts)]


def _groups(
    sizes: Sequence[int], depth: int, width: int, transposed: str = "", probe: bool = False, regime: str = "normal"
) -> Description:
    rows = sum(sizes)
    shape = {"": [len(sizes), depth, width], "rhs": [len(sizes), width, depth], "lhs": [rows, width]}[transposed]
    return describe(
        tensor([rows, depth], regime),
        tensor(shape, regime),
        probe=probe,
        sizes=list(sizes),
        trans_lhs=transposed == "lhs",
        trans_rhs=transposed == "rhs",
    )


register(
    OperatorSpec(
        name="batched_gemm",
        call=lambda paddle, t, a: paddle.incubate.nn.functional.batched_gemm(
            t[0], t[1], a["sizes"], a["trans_lhs"], a["trans_rhs"]
        ),
        oracle=_grouped,
        kind=Kind.GEMM,
        examples=lambda dtype: st.builds(
            _groups,
            st.lists(st.integers(1, 7), min_size=1, max_size=4),
            st.integers(1, 33),
            st.integers(1, 17),
            st.sampled_from(["", "rhs", "lhs"]),
        ),
        corners=lambda dtype: [
            _groups([2, 3], 8, 5, probe=True, regime="integers"),
            _groups([3, 1, 4], 17, 9),
            _groups([3, 1, 4], 17, 9, "rhs"),
            _groups([3, 1, 4], 17, 9, "lhs"),
            _groups([40, 24], 128, 64),
        ],
        dtypes=(),
        offered=("float32", "bfloat16"),  # Paddle refuses the others
        static=False,
        aliases=("paddle.incubate.nn.functional.batched_gemm",),
    )
)


def _route(tokens: int, experts: int, k: int, seed: int) -> list[list[int]]:
    """Different experts for each token, about a quarter of the places empty (-1)."""
    generator = np.random.default_rng([seed, tokens, experts, k])
    rows = np.stack([generator.permutation(experts)[:k] for _ in range(tokens)])
    return np.where(generator.random(rows.shape) < 0.25, -1, rows).tolist()  # type: ignore[no-any-return]


def _permute_call(paddle: Any, t: Sequence[Any], a: Attributes) -> list[Any]:
    functional = paddle.nn.functional
    rows, rowmap, shares, _ = functional.moe_permute(
        t[0], None, t[1], t[2], a["experts"], a["counts"], padding_alignment=a["alignment"]
    )
    back, own = functional.moe_unpermute(rows, rowmap, t[1], shares, a["tokens"], a["experts"])
    return [rows, rowmap, shares, back, own]


def _permuted(x: list[Operand], a: Attributes) -> list[Operand]:
    """Tokens in the order of their experts, each expert's rows padded with zeros; and the sum of a token's copies."""
    route, probability = value_of(x[1]), value_of(x[2])
    padded = [-(-count // a["alignment"]) * a["alignment"] for count in a["counts"]]
    starts = np.cumsum([0, *padded])
    source = np.full(int(starts[-1]), -1)
    rowmap = np.full((a["tokens"], a["experts"]), -1, np.int32)
    shares = np.zeros(source.size, np.float32)
    for expert in range(a["experts"]):
        for number, token in enumerate(t for t in range(a["tokens"]) if expert in route[t]):
            row = int(starts[expert]) + number
            source[row], rowmap[token, expert] = token, row
            shares[row] = probability[token, list(route[token]).index(expert)]
    rows = b.move(lambda v: np.where((source >= 0)[:, None], v[np.maximum(source, 0)], 0.0), x[0])
    copies = np.count_nonzero(route >= 0, axis=1)[:, None]
    return [rows, rowmap, shares, x[0] * copies.astype(np.float64), np.where(route >= 0, probability, 0)]


def _permutation(tokens: int, width: int, experts: int, k: int, alignment: int, seed: int = 0) -> Description:
    route = _route(tokens, experts, min(k, experts), seed)
    flat = [expert for row in route for expert in row]
    return describe(
        tensor([tokens, width]),
        tensor([tokens, min(k, experts)], "listed", "int32", values=flat),
        tensor([tokens, min(k, experts)], "positive", "float32"),
        tokens=tokens,
        experts=experts,
        counts=[flat.count(expert) for expert in range(experts)],
        alignment=alignment,
    )


register(
    OperatorSpec(
        name="moe_permute",
        call=_permute_call,
        oracle=_permuted,
        kernels=lambda a, dtype: [Kernel(("moe_permute",), dtype), Kernel(("moe_unpermute",), dtype)],
        result_dtypes=lambda a, dtype: (dtype, "int32", "float32", dtype, "float32"),
        kind=Kind.EXACT,
        stress=False,
        examples=lambda dtype: st.builds(
            _permutation,
            st.integers(2, 12),
            st.sampled_from([8, 16]),
            st.integers(2, 6),
            st.integers(1, 3),
            st.sampled_from([1, 4]),
            st.integers(0, 99),
        ),
        corners=lambda dtype: [
            _permutation(8, 8, 4, 2, 4),
            _permutation(20, 16, 5, 3, 1),
            _permutation(33, 64, 8, 2, 128),
        ],
        dtypes=(),
        offered=("bfloat16",),  # Paddle refuses the others
        static=False,
        aliases=("paddle.nn.functional.moe_permute", "paddle.nn.functional.moe_unpermute"),
    )
)
