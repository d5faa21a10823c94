"""Mixture of experts: dispatch, combine, permute and grouped products against plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kernel_checks import Array

Call = Callable[..., list[Any]]

ROUNDING = {"float64": 2.0**-50, "float32": 2.0**-23, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def drawn(shape: tuple[int, ...], dtype: str, seed: int, low: float = -2, high: float = 2) -> Array:
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def close(got: Array, exact: Array, dtype: str, size: Array | float = 0.0) -> None:
    assert got.shape == exact.shape
    unit = 2.0**-48 if dtype == "float64" else 2.0**-20
    limit = np.abs(exact) * ROUNDING[dtype] + unit * np.asarray(size) + 1e-12
    np.testing.assert_array_less(np.abs(got.astype(float) - exact), limit)


def dispatched(x: Array, gate: Array, bias: Array | None, k: int, capacity: int, pad: bool) -> tuple[Array, ...]:
    """y, weights, scatter index, expert offset and expert id, token by token."""
    tokens, experts = gate.shape
    scores = gate if bias is None else gate + bias
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    weights = np.take_along_axis(gate, chosen, 1)
    y = np.zeros((experts * capacity if pad else tokens * k, x.shape[1]), x.dtype)
    scatter = np.zeros((k, tokens), np.int32)
    counts = np.bincount(chosen.reshape(-1), minlength=experts)
    order = [(t, s) for s in range(k) for t in range(tokens)] if pad else list(np.ndindex(tokens, k))
    taken = [0] * experts
    for token, slot in order:
        expert = chosen[token, slot]
        row = taken[expert]
        taken[expert] += 1
        if row >= capacity:
            weights[token, slot] = 0
            continue
        place = (expert * capacity if pad else counts[:expert].sum()) + row
        scatter[slot, token] = place
        y[place] = x[token]
    return y, weights, scatter, counts.cumsum(), chosen.astype(np.int32)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("pad", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(
    ("tokens", "experts", "k", "capacity"), [(30, 4, 2, 9), (7, 3, 3, 100), (1, 2, 1, 1), (0, 3, 2, 4)]
)
def test_gate_dispatch(
    call: Call, dtype: str, pad: bool, biased: bool, tokens: int, experts: int, k: int, capacity: int
) -> None:
    x, gate = drawn((tokens, 10), dtype, 1), drawn((tokens, experts), "float32", 2, 0.01, 1)
    bias = drawn((experts,), "float32", 3, -0.3, 0.3) if biased else None
    exact = dispatched(x, gate, bias, k, capacity, pad)
    names = [dtype, "float32", "int32", "int64", "int32"]
    outputs = [(e.shape, name) for e, name in zip(exact, names, strict=True)]
    found = call("moe_gate_dispatch", dtype, [x, gate, bias], [k, capacity, pad], outputs)
    for got, wanted in zip(found, exact, strict=True):
        np.testing.assert_array_equal(got.astype(float), wanted.astype(float))
    y, weights, scatter, _, expert = found
    g, dweights = drawn(y.shape, dtype, 4), drawn((tokens, k), "float32", 5)
    outputs = [(x.shape, dtype), ((tokens, experts), "float32")]
    inputs = [weights, scatter, expert, g, dweights]
    dx, dgate = call("moe_gate_dispatch_grad", dtype, inputs, [k, capacity, pad], outputs)
    wanted_x, wanted_gate = np.zeros(x.shape), np.zeros(gate.shape)
    for token, slot in np.ndindex(tokens, k):
        if weights[token, slot] > 0:
            wanted_x[token] += g[scatter[slot, token]].astype(float)
            wanted_gate[token, expert[token, slot]] = dweights[token, slot]
    close(dx, wanted_x, dtype, 4)
    np.testing.assert_array_equal(dgate, wanted_gate)


def test_gate_takes_nan_last_and_refuses_too_many(call: Call) -> None:
    gate = np.array([[np.nan, 0.2, 0.1]], np.float32)
    outputs = [((3, 2), "float32"), ((1, 2), "float32"), ((2, 1), "int32"), ((3,), "int64"), ((1, 2), "int32")]
    found = call("moe_gate_dispatch", "float32", [np.ones((1, 2), np.float32), gate, None], [2, 1, True], outputs)
    np.testing.assert_array_equal(found[4], [[1, 2]])
    with pytest.raises(ValueError, match="k = 4 of 3 experts"):
        call("moe_gate_dispatch", "float32", [np.ones((1, 2), np.float32), gate, None], [4, 1, True], outputs)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("weight_dtype", ["same", "float32"])
@pytest.mark.parametrize("apart", [True, False])
def test_combine(call: Call, dtype: str, weight_dtype: str, apart: bool) -> None:
    own = dtype if weight_dtype == "same" or dtype == "float64" else "float32"
    x, weights, g = drawn((12, 20), dtype, 1), drawn((5, 2), own, 2), drawn((5, 20), dtype, 3)
    index = np.random.default_rng(4).permutation(12)[:10].reshape(5, 2).astype(np.int32)
    index[1], weights[1, 0] = index[0], 0  # a row that two tokens take, and one that counts nothing
    x[index[1, 0]] = 1e4
    (y,) = call("moe_combine", dtype, [x, weights, index], [], [((5, 20), dtype)])
    terms = x.astype(float)[index] * weights.astype(float)[..., None]
    close(y, terms.sum(1), dtype, np.abs(terms).sum(1))
    shape = (5, 2, 20) if apart else (5, 2)
    outputs = [(x.shape, dtype), (shape, dtype if apart else own)]
    dx, dweights = call("moe_combine_grad", dtype, [x, weights, index, g], [], outputs)
    wanted = np.zeros(x.shape)
    for token, slot in np.ndindex(5, 2):
        wanted[index[token, slot]] += weights[token, slot].astype(float) * g[token].astype(float)
    close(dx, wanted, dtype, 16)
    products = x.astype(float)[index] * g.astype(float)[:, None]
    if apart:
        close(dweights, products, dtype)
    else:
        close(dweights, products.sum(-1), own, np.abs(products).sum(-1))


def test_combine_names_a_row_that_does_not_exist(call: Call) -> None:
    x, weights = np.ones((3, 2), np.float32), np.ones((1, 1), np.float32)
    with pytest.raises(RuntimeError, match="index 3"):
        call("moe_combine", "float32", [x, weights, np.array([[3]], np.int32)], [], [((1, 2), "float32")])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("buffer", [-1, 64])
@pytest.mark.parametrize("alignment", [1, 4])
def test_permute_and_back(call: Call, dtype: str, buffer: int, alignment: int) -> None:
    tokens, experts, topk = 20, 5, 3
    rng = np.random.default_rng(1)
    route = np.stack([rng.permutation(experts)[:topk] for _ in range(tokens)]).astype(np.int32)
    route[rng.random(route.shape) < 0.4] = -1
    route[route == 3] = -1  # an expert without tokens
    probability, x = drawn((tokens, topk), "float32", 2, 0, 1), drawn((tokens, 18), dtype, 3)
    counts = [int((route == e).sum()) for e in range(experts)]
    starts = np.cumsum([0] + [-(-c // alignment) * alignment for c in counts])
    rows = int(starts[-1]) if buffer < 0 else buffer
    wanted, wanted_p = np.zeros((rows, 18), x.dtype), np.zeros(rows, np.float32)
    wanted_map, wanted_expert = np.full((tokens, experts), -1, np.int32), np.full(rows, -1, np.int32)
    for expert in range(experts):
        for number, token in enumerate(t for t in range(tokens) if expert in route[t]):
            row = starts[expert] + number
            wanted[row], wanted_map[token, expert], wanted_expert[row] = x[token], row, expert
            wanted_p[row] = probability[token, list(route[token]).index(expert)]
    attributes = [experts, counts if buffer < 0 else [], alignment, True, False, True, buffer]
    outputs = [((rows, 18), dtype), ((tokens, experts), "int32"), ((rows,), "float32"), None, ((rows,), "int32")]
    y, rowmap, p, _, expert_of = call("moe_permute", dtype, [x, None, route, probability], attributes, outputs)
    for got, exact in ((y, wanted), (rowmap, wanted_map), (p, wanted_p), (expert_of, wanted_expert)):
        np.testing.assert_array_equal(got.astype(float), exact.astype(float))
    for weighted in (False, True):
        outputs = [((tokens, 18), dtype), ((tokens, topk), "float32")]
        attributes = [tokens, experts, True, weighted]
        back, back_p = call("moe_unpermute", dtype, [y, rowmap, route, p], attributes, outputs)
        weight = np.where(route >= 0, probability.astype(float) if weighted else 1.0, 0.0).sum(1, keepdims=True)
        close(back, x.astype(float) * weight, dtype, 8)
        np.testing.assert_array_equal(back_p, np.where(route >= 0, probability, 0))


def test_permute_refuses_wrong_counts(call: Call) -> None:
    x, route = np.ones((3, 2), np.float32), np.array([[0], [0], [1]], np.int32)
    p = np.ones((3, 1), np.float32)
    outputs = [((3, 2), "float32"), ((3, 2), "int32"), ((3,), "float32"), None, None]
    with pytest.raises(RuntimeError, match="expert 0 gets 2 tokens, tokens_per_expert says 1"):
        call("moe_permute", "float32", [x, None, route, p], [2, [1, 2], 1, True, False, False, -1], outputs)
    with pytest.raises(RuntimeError, match="do not fit a buffer of 2"):
        call("moe_permute", "float32", [x, None, route, p], [2, [], 1, True, False, False, 2], outputs)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("sizes", [[3, 0, 5, 1], [0, 0], [40]])
@pytest.mark.parametrize(("trans_lhs", "trans_rhs"), [(False, False), (False, True), (True, False)])
def test_grouped_products(call: Call, dtype: str, sizes: list[int], trans_lhs: bool, trans_rhs: bool) -> None:
    rows, depth, width, groups = sum(sizes), 17, 6, len(sizes)
    a = drawn((rows, depth), dtype, 1)
    shape = (rows, width) if trans_lhs else (groups, width, depth) if trans_rhs else (groups, depth, width)
    b = drawn(shape, dtype, 2)
    result = (groups, depth, width) if trans_lhs else (rows, width)
    (got,) = call("batched_gemm", dtype, [a, b], [sizes, trans_lhs, trans_rhs], [(result, dtype)])
    exact, start, left, right = np.zeros(result), 0, a.astype(float), b.astype(float)
    for group, size in enumerate(sizes):
        part = slice(start, start + size)
        if trans_lhs:
            exact[group] = left[part].T @ right[part]
        else:
            exact[part] = left[part] @ (right[group].T if trans_rhs else right[group])
        start += size
    close(got, exact, dtype, 64)


def test_grouped_products_that_do_not_fit(call: Call) -> None:
    a, b = np.ones((4, 3), np.float32), np.ones((2, 3, 5), np.float32)
    for sizes in ([2, 1], [2, 1, 1], [-1, 5]):
        with pytest.raises(ValueError, match="batched_gemm"):
            call("batched_gemm", "float32", [a, b], [sizes, False, False], [((4, 5), "float32")])
