"""Half precision: what a kernel computes in float32 is rounded once, where it is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kernel_checks import Array

Call = Callable[..., list[Any]]

HALVES = ("float16", "bfloat16")
ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
SINGLE = 2.0**-24
SHAPES = ((), (0,), (1,), (7,), (300,), (3, 0, 2), (5, 259), (4, 33, 18))


def half(array: Array, dtype: str) -> Array:
    return array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16)


def drawn(shape: tuple[int, ...], dtype: str, seed: int, low: float = -3, high: float = 3) -> Array:
    return half(np.asarray(np.random.default_rng(seed).uniform(low, high, shape)), dtype)


def wide(array: Array) -> Array:
    return array.astype(np.float64)


def assert_rounded_once(got: Array, exact: Array, dtype: str, single: Array | float) -> None:
    """``single`` is what float32 arithmetic may be off by before the one rounding."""
    assert got.shape == exact.shape
    slack = np.abs(exact) * ROUNDING[dtype] + (1 + ROUNDING[dtype]) * np.asarray(single) + SMALLEST[dtype] / 2
    np.testing.assert_array_less(np.abs(wide(got) - exact), slack + 1e-300)


UNARY: dict[str, tuple[Callable[[Array], Array], float]] = {
    "exp": (np.exp, 4),
    "log": (np.log, 4),
    "sqrt": (np.sqrt, 2),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 4),
    "square": (np.square, 1),
    "reciprocal": (lambda x: 1 / x, 1),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 6),
    "silu": (lambda x: x / (1 + np.exp(-x)), 8),
    "tanh": (np.tanh, 6),
    "sin": (np.sin, 4),
    "cos": (np.cos, 4),
    "floor": (np.floor, 0),
    "abs": (np.abs, 0),
    "relu": (lambda x: np.maximum(x, 0), 0),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("shape", SHAPES)
def test_functions(call: Call, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    x = drawn(shape, dtype, 1, 0.1 if name in ("log", "sqrt", "rsqrt", "reciprocal") else -3)
    function, ulps = UNARY[name]
    (got,) = call(name, dtype, [x], [], [(shape, dtype)])
    exact = np.asarray(function(wide(x)))
    assert_rounded_once(got, exact, dtype, 2 * ulps * SINGLE * np.maximum(np.abs(exact), 1e-2))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "minimum"])
@pytest.mark.parametrize(("left", "right"), [((5, 300), (5, 300)), ((5, 300), (300,)), ((5, 1), (5, 300)), ((), (7,))])
def test_pairs(call: Call, name: str, dtype: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    x, y = drawn(left, dtype, 1), drawn(right, dtype, 2, 0.5)
    exact = getattr(np, name)(wide(x), wide(y))
    (got,) = call(name, dtype, [x, y], [], [(exact.shape, dtype)])
    assert_rounded_once(got, exact, dtype, SINGLE * np.abs(exact))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(3, 5000), (5000, 3), (70, 300), (1, 100_000)])
@pytest.mark.parametrize("axes", [[0], [1], [0, 1]])
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_sums_are_held_in_float32(call: Call, name: str, dtype: str, shape: tuple[int, ...], axes: list[int]) -> None:
    """A sum in a half type would be off by whole per cents here, and stop growing."""
    x = drawn(shape, dtype, 3, 0, 2)
    attributes = [axes, dtype, False] if name == "sum" else [axes, False]
    x = half(wide(x) / np.prod([shape[a] for a in axes]), dtype) if name == "sum" else x
    exact = np.asarray(getattr(np, name)(wide(x), axis=tuple(axes)))
    size = np.asarray(getattr(np, name)(np.abs(wide(x)), axis=tuple(axes)))
    (got,) = call(name, dtype, [x], attributes, [(exact.shape, dtype)])
    count = np.prod([shape[a] for a in axes])
    assert_rounded_once(got, exact, dtype, (20 + np.sqrt(count)) * SINGLE * size)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(4, 300), (3, 7, 5)])
@pytest.mark.parametrize("axis", [-1, 0])
def test_softmax(call: Call, dtype: str, shape: tuple[int, ...], axis: int) -> None:
    x = drawn(shape, dtype, 4, -40, 40)
    power = np.exp(wide(x) - wide(x).max(axis, keepdims=True))
    exact = power / power.sum(axis, keepdims=True)
    (got,) = call("softmax", dtype, [x], [axis], [(shape, dtype)])
    assert_rounded_once(got, exact, dtype, 16 * SINGLE * exact)
    (got,) = call("log_softmax", dtype, [x], [axis], [(shape, dtype)])
    logarithm = np.log(exact)
    assert_rounded_once(got, logarithm, dtype, 16 * SINGLE * (1 + np.abs(logarithm)))


@pytest.mark.parametrize("dtype", ["float32", "float64", *HALVES])
def test_softmax_of_extreme_rows(call: Call, dtype: str) -> None:
    """Masked and large logits; a row without any probability is NaN, and does not touch its neighbours."""
    top = 60000.0 if dtype == "float16" else 1e30
    x = np.array([[-np.inf, 0, 0, -np.inf], [top, top, -top, 0], [-np.inf] * 4, [1, 1, 1, 1]])
    x = half(x, dtype) if dtype in HALVES else x.astype(dtype)
    (got,) = call("softmax", dtype, [x], [-1], [(x.shape, dtype)])
    wanted = [[0, 0.5, 0.5, 0], [0.5, 0.5, 0, 0], [np.nan] * 4, [0.25] * 4]
    np.testing.assert_array_equal(wide(got), wanted)


@pytest.mark.parametrize("dtype", HALVES)
def test_repeated_ids_add_up_in_float32(call: Call, dtype: str) -> None:
    """4096 gradients of one row: added in a half type, the sum would stand still at 2048 or 256."""
    ids, grad = np.zeros(4096, np.int64), half(np.ones((4096, 3)), dtype)
    table = half(np.zeros((2, 3)), dtype)
    (got,) = call("embedding_grad", dtype, [ids, table, grad], [-1], [(table.shape, dtype)])
    np.testing.assert_array_equal(wide(got), [[4096] * 3, [0] * 3])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(4, 3000), (3000, 4)])
@pytest.mark.parametrize("axis", [0, 1])
def test_running_sums_round_each_result_once(call: Call, dtype: str, shape: tuple[int, ...], axis: int) -> None:
    x = drawn(shape, dtype, 5, 0, 1)
    exact = np.cumsum(wide(x), axis)
    (got,) = call("cumsum", dtype, [x], [axis, False, False, False], [(shape, dtype)])
    assert_rounded_once(got, exact, dtype, shape[axis] * SINGLE * exact)


@pytest.mark.parametrize("dtype", HALVES)
def test_gradient_of_a_broadcast_operand_is_summed_before_it_is_rounded(call: Call, dtype: str) -> None:
    x, y, grad = drawn((300, 40), dtype, 6), drawn((40,), dtype, 7), drawn((300, 40), dtype, 8)
    exact = (wide(grad) * wide(x)).sum(0)
    size = np.abs(wide(grad) * wide(x)).sum(0)
    _, got = call("multiply_grad", dtype, [x, y, grad], [-1], [(x.shape, dtype), (y.shape, dtype)])
    assert_rounded_once(got, exact, dtype, 300 * SINGLE * size)


@pytest.mark.parametrize("dtype", HALVES)
def test_every_number_survives_widening_and_narrowing(call: Call, dtype: str) -> None:
    """All 65536 of them, NaN apart, through float32 and back."""
    x = np.arange(65536, dtype=np.uint16).view(ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16)
    (wider,) = call("cast", dtype, [x], ["float32"], [(x.shape, "float32")])
    (back,) = call("cast", "float32", [wider], [dtype], [(x.shape, dtype)])
    number = ~np.isnan(x.astype(np.float32))
    np.testing.assert_array_equal(wider[number], x.astype(np.float32)[number])
    np.testing.assert_array_equal(back.view(np.uint16)[number], x.view(np.uint16)[number])
