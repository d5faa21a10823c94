"""Running products, evenly spaced numbers, put_along_axis, einsum, atan, shapes and the raw forms, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from finite_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from kernel_checks import Array, assert_exact, assert_within_ulps, draw

Call = Callable[..., list[Any]]

SEEDS = st.integers(0, 2**32 - 2)
FEW = settings(max_examples=30, deadline=None)
SHAPES = array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5)


def cumprod(x: Array, axis: int, exclusive: bool, reverse: bool) -> Array:
    turned = np.flip(x, axis) if reverse else x
    product = np.cumprod(turned, axis=axis)
    if exclusive:
        rest = np.take(product, range(x.shape[axis] - 1), axis=axis)
        product = np.concatenate([np.ones_like(np.take(x, [0], axis=axis)), rest], axis=axis)
    return np.asarray(np.flip(product, axis) if reverse else product)


@FEW
@given(shape=SHAPES, seed=SEEDS, axis=st.integers(-3, 2), exclusive=st.booleans(), reverse=st.booleans())
def test_cumprod(call: Call, shape: tuple[int, ...], seed: int, axis: int, exclusive: bool, reverse: bool) -> None:
    axis = axis % len(shape)
    x = draw(shape, "float64", seed, -2, 2)
    x[draw(shape, "bool", seed + 1, 0, 2) & draw(shape, "bool", seed + 2, 0, 2)] = 0
    attributes = [axis - len(shape), exclusive, reverse]
    wanted = cumprod(x, axis, exclusive, reverse)
    (got,) = call("cumprod", "float64", [x], attributes, [(shape, "float64")])
    np.testing.assert_allclose(got, wanted, rtol=1e-14)
    g = draw(shape, "float64", seed + 3, -2, 2)
    (dx,) = call("cumprod_grad", "float64", [x, got, g], attributes, [(shape, "float64")])
    assert_gradient(dx, lambda v: cumprod(v, axis, exclusive, reverse), x, g)
    in_place = x.copy()
    call("cumprod", "float64", [in_place], attributes, [in_place])
    assert_exact(in_place, got)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_cumprod_of_integers_and_scalars(call: Call, dtype: str) -> None:
    x = draw((3, 4), dtype, 1, -3, 4)
    (got,) = call("cumprod", dtype, [x], [1, False, False], [((3, 4), dtype)])
    assert_exact(got, np.cumprod(x, axis=1).astype(dtype))
    (got,) = call("cumprod", dtype, [x[0, 0]], [0, False, False], [((), dtype)])
    assert_exact(got, np.asarray(x[0, 0]))


@FEW
@given(start=st.integers(-50, 50), stop=st.integers(-50, 50), number=st.integers(1, 40), whole=st.booleans())
def test_linspace(call: Call, start: int, stop: int, number: int, whole: bool) -> None:
    dtype = "int64" if whole else "float64"
    bounds = [np.array(start, dtype), np.array([stop], dtype), np.array(number, "int32")]
    (got,) = call("linspace", dtype, bounds, [dtype], [((-1,), dtype)])
    if whole:
        step = (stop - start) / (number - 1) if number > 1 else 0
        places = range(number)
        wanted = [start + step * i if 2 * i < number else stop - step * (number - 1 - i) for i in places]
        assert_exact(got, np.array(wanted).astype(np.int64))
    else:
        assert_within_ulps(got, np.linspace(start, stop, number), 4, np.full(number, 50.0))
        assert got[0] == start
        assert number == 1 or got[-1] == stop


def test_linspace_of_nothing_is_an_error(call: Call) -> None:
    bounds = [np.float32(0), np.float32(1), np.int32(0)]
    with pytest.raises(ValueError, match="linspace of 0 values"):
        call("linspace", "float32", bounds, ["float32"], [((-1,), "float32")])


PUTS: dict[str, Callable[[float, float], float]] = {
    "assign": lambda held, value: value,
    "add": lambda held, value: held + value,
    "mul": lambda held, value: held * value,
    "multiply": lambda held, value: held * value,
    "amin": min,
    "amax": max,
    "mean": lambda held, value: held + value,
}


def put(x: Array, index: Array, value: Array, axis: int, reduce: str, include_self: bool) -> Array:
    """By definition: one value after the other."""
    result, terms = x.copy(), np.full(x.shape, int(include_self))
    for place in np.ndindex(*index.shape):
        target = (*place[:axis], int(index[place]) % x.shape[axis], *place[axis + 1 :])
        result[target] = PUTS[reduce](result[target], value[place]) if terms[target] else value[place]
        terms[target] += 1
    return np.asarray(result / np.maximum(terms, 1)) if reduce == "mean" else result


@pytest.mark.parametrize("reduce", PUTS)
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@FEW
@given(shape=SHAPES, count=st.integers(0, 4), seed=SEEDS, axis=st.integers(-3, 2), include_self=st.booleans())
def test_put_along_axis(
    call: Call,
    reduce: str,
    index_dtype: str,
    shape: tuple[int, ...],
    count: int,
    seed: int,
    axis: int,
    include_self: bool,
) -> None:
    axis = axis % len(shape)
    own = tuple(count if i == axis else side for i, side in enumerate(shape))
    x, value = draw(shape, "float64", seed, -2, 2), draw(own, "float64", seed + 1, -2, 2)
    index = draw(own, index_dtype, seed + 2, -shape[axis], shape[axis])
    attributes = [axis, reduce, include_self]
    (got,) = call("put_along_axis", "float64", [x, index, value], attributes, [(shape, "float64")])
    np.testing.assert_allclose(got, put(x, index, value, axis, reduce, include_self), rtol=1e-14, atol=1e-15)
    g = draw(shape, "float64", seed + 3, -2, 2)
    specification = [(shape, "float64"), (own, "float64")]
    inputs = [x, index, value, got, g]
    if reduce not in ("assign", "add"):
        with pytest.raises(NotImplementedError, match="no gradient for the reduction"):
            call("put_along_axis_grad", "float64", inputs, attributes, specification)
        return
    dx, dvalue = call("put_along_axis_grad", "float64", inputs, attributes, specification)
    assert_gradient(dx, lambda v: put(v, index, value, axis, reduce, include_self), x, g)
    assert_gradient(dvalue, lambda v: put(x, index, v, axis, reduce, include_self), value, g)


def test_put_along_axis_refuses(call: Call) -> None:
    x, index = np.zeros((2, 3)), np.array([[5], [0]])
    with pytest.raises(RuntimeError, match="index 5 at position 0"):
        call("put_along_axis", "float64", [x, index, np.ones((2, 1))], [1, "assign", True], [((2, 3), "float64")])
    with pytest.raises(ValueError, match="unknown reduction 'max'"):
        call("put_along_axis", "float64", [x, index, np.ones((2, 1))], [1, "max", True], [((2, 3), "float64")])
    with pytest.raises(ValueError, match="values of shape"):
        call("put_along_axis", "float64", [x, index, np.ones((2, 2))], [1, "assign", True], [((2, 3), "float64")])


EQUATIONS = (
    "ij,jk->ik",
    "bij,bjk->bik",
    "sec,sm->ecm",
    "i,d->id",
    "ijk,jl->il",
    "ij,ij->",
    "...ij,jk->...ik",
    "...i,...i->...",
    "kj,ik->ji",
    "ij->ji",
    "ijk->j",
    "ii->i",
    "ii,ij->j",
    "i...->...i",
)


@pytest.mark.parametrize("equation", EQUATIONS)
@FEW
@given(
    sides=st.lists(st.integers(0, 4), min_size=6, max_size=6), dots=st.lists(st.integers(1, 3), max_size=2), seed=SEEDS
)
def test_einsum(call: Call, equation: str, sides: list[int], dots: list[int], seed: int) -> None:
    lengths = dict(zip("bcdeijklms", [*sides, *sides], strict=False))
    operands = []
    for number, term in enumerate(equation.split("->")[0].split(",")):
        shape = [lengths[label] for label in term.replace("...", "")]
        if "..." in term:
            at = term.index("...")
            shape[at:at] = dots if number == 0 else [1 if side == 2 else side for side in dots]
        operands.append(draw(tuple(shape), "float64", seed + number, -2, 2))
    wanted = np.asarray(np.einsum(equation, *operands))
    unset: list[Any] = [((-1,), "float64")] * len(operands)
    out, _, kept = call("einsum", "float64", [operands], [equation], [(wanted.shape, "float64"), unset, unset])
    np.testing.assert_allclose(out, wanted, rtol=1e-13, atol=1e-13)
    g = draw(wanted.shape, "float64", seed + 7, -2, 2)
    specification = [[(operand.shape, "float64") for operand in operands]]
    (grads,) = call("einsum_grad", "float64", [kept, unused_caches(operands), g], [equation], specification)
    for i, operand in enumerate(operands):

        def result(v: Array, i: int = i) -> Array:
            return np.asarray(np.einsum(equation, *[v if k == i else other for k, other in enumerate(operands)]))

        assert_gradient(grads[i], result, operand, g)


def unused_caches(operands: list[Array]) -> list[Array]:
    return [np.zeros(0) for _ in operands]


@pytest.mark.parametrize(
    "equation", ["ij,jk", "ij->ij", "ij,jk,kl->il", "ij,jk->iq", "ij,kj->ik", "ijk,jk->ik", "i?,jk->ik"]
)
def test_einsum_refuses(call: Call, equation: str) -> None:
    unset: list[Any] = [((-1,), "float64")] * 2
    with pytest.raises(ValueError, match="einsum"):
        call("einsum", "float64", [[np.ones((2, 3)), np.ones((3, 4))]], [equation], [((-1,), "float64"), unset, unset])


@pytest.mark.parametrize(("dtype", "ulps"), [("float32", 1), ("float64", 2)])
def test_atan(call: Call, dtype: str, ulps: float) -> None:
    x = np.concatenate([draw((200,), dtype, 1, -8, 8), np.array([np.nan, np.inf, -np.inf, 0, -0.0], dtype)])
    (got,) = call("atan", dtype, [x], [], [(x.shape, dtype)])
    assert_within_ulps(got, np.arctan(x.astype(np.longdouble)), ulps)
    g = draw(x.shape, dtype, 2, -2, 2)
    (dx,) = call("atan_grad", dtype, [x, g], [], [(x.shape, dtype)])
    assert_within_ulps(dx, g.astype(np.longdouble) / (1 + np.square(x.astype(np.longdouble))), 2)


@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 4)])
def test_shape64(call: Call, shape: tuple[int, ...]) -> None:
    (got,) = call("shape64", "float32", [np.zeros(shape, np.float32)], [], [((len(shape),), "int64")])
    assert_exact(got, np.array(shape, np.int64))


RAW: dict[str, Callable[[Array, Array], Array]] = {
    "add_raw": np.add,
    "equal_raw": np.equal,
    "less_than_raw": np.less,
    "greater_equal_raw": np.greater_equal,
}


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 4), -1), ((4,), -1), ((3,), 1), ((2, 3), 0), ((2,), 0)])
def test_raw_forms(call: Call, name: str, shape: tuple[int, ...], axis: int) -> None:
    x, y = draw((2, 3, 4), "int64", 1, -2, 3), draw(shape, "int64", 2, -2, 3)
    aligned = y if axis < 0 else y.reshape(*shape, *[1] * (3 - axis - len(shape)))
    wanted = RAW[name](x, aligned)
    (got,) = call(name, "int64", [x, y], [axis], [(wanted.shape, wanted.dtype.name)])
    assert_exact(got, wanted)


def test_raw_forms_refuse_an_axis_beyond_x(call: Call) -> None:
    with pytest.raises(ValueError, match="reaches beyond"):
        call("add_raw", "int64", [np.zeros((2, 3), int), np.zeros((3, 1), int)], [1], [((2, 3), "int64")])


@pytest.mark.parametrize("result", ["float32", "float64", "int32", "int64"])
def test_one_hot_raw(call: Call, result: str) -> None:
    x = np.array([[0, 3], [2, 5]])
    wanted = (x[..., None] == np.arange(4)).astype(result)
    (got,) = call("one_hot_raw", "int64", [x], [4, result, True], [(wanted.shape, result)])
    assert_exact(got, wanted)
    with pytest.raises(RuntimeError, match="index 5 at position 3 is outside 4 classes"):
        call("one_hot_raw", "int64", [x], [4, result, False], [(wanted.shape, result)])
