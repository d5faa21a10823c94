"""Reductions over any set of axes, running sums and softmax against their definitions in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
import pytest
from finite_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from kernel_checks import Array, assert_exact, assert_within_ulps, draw, with_specials

Call = Callable[..., list[Any]]

FLOATS = ("float32", "float64")
SHAPES = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
FULL_SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4)
SEEDS = st.integers(0, 2**32 - 2)
FEW = settings(max_examples=30, deadline=None)


@dataclass(frozen=True)
class Fold:
    """What a reduction folds: ``axes`` is Paddle's attribute (empty: all axes), ``numpy`` the same for NumPy."""

    shape: tuple[int, ...]
    axes: list[int]
    keepdim: bool

    @property
    def numpy(self) -> tuple[int, ...]:
        rank = len(self.shape)
        return tuple(a % rank for a in self.axes) if self.axes and rank else tuple(range(rank))

    @property
    def shape_out(self) -> tuple[int, ...]:
        return tuple(np.sum(np.zeros(self.shape), axis=self.numpy, keepdims=self.keepdim).shape)

    @property
    def count(self) -> int:
        return int(np.prod([self.shape[a] for a in self.numpy], dtype=int))

    def spread(self, result: Array) -> Array:
        """A result or its gradient over the index space of the input."""
        kept = tuple(1 if a in self.numpy else n for a, n in enumerate(self.shape))
        return np.broadcast_to(result.reshape(kept), self.shape)


@st.composite
def folds(draw_: st.DrawFn, shapes: Any = SHAPES) -> Fold:
    shape = draw_(shapes)
    rank = len(shape)
    picked = draw_(st.lists(st.integers(0, rank - 1), unique=True)) if rank else draw_(st.sampled_from([[], [0], [-1]]))
    axes = [a - rank if rank and draw_(st.booleans()) else a for a in picked]
    return Fold(shape, axes, draw_(st.booleans()))


def wide(x: Array) -> Array:
    return x.astype(np.longdouble)


@pytest.mark.parametrize("dtype", FLOATS)
@FEW
@given(fold=folds(), seed=SEEDS, specials=st.booleans())
def test_sum_and_mean(call: Call, dtype: str, fold: Fold, seed: int, specials: bool) -> None:
    x = draw(fold.shape, dtype, seed, -4, 4)
    x = with_specials(x, seed) if specials else x
    (total,) = call("sum", dtype, [x], [fold.axes, dtype, fold.keepdim], [(fold.shape_out, dtype)])
    (mean,) = call("mean", dtype, [x], [fold.axes, fold.keepdim], [(fold.shape_out, dtype)])
    with np.errstate(all="ignore"):
        wanted = np.asarray(wide(x).sum(axis=fold.numpy, keepdims=fold.keepdim))
        size = np.asarray(np.abs(wide(x)).sum(axis=fold.numpy, keepdims=fold.keepdim))
        assert_within_ulps(total, wanted, 1 if dtype == "float32" else 64, size)
        assert_within_ulps(mean, wanted / fold.count, 1 if dtype == "float32" else 64, size / fold.count)


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "uint8", "int8", "int16"])
@FEW
@given(fold=folds(), seed=SEEDS)
def test_sum_of_integers(call: Call, dtype: str, fold: Fold, seed: int) -> None:
    x = draw(fold.shape, dtype, seed, 0, 100)
    (total,) = call("sum", dtype, [x], [fold.axes, "int64", fold.keepdim], [(fold.shape_out, "int64")])
    assert_exact(total, np.asarray(x.sum(axis=fold.numpy, keepdims=fold.keepdim, dtype=np.int64)))


def test_sum_is_held_in_double(call: Call) -> None:
    x = np.full(1 << 16, 0.1, np.float32)
    x[0] = 1 << 24
    (total,) = call("sum", "float32", [x], [[], "float32", False], [((), "float32")])
    assert total == np.float32(x.astype(np.float64).sum())
    (total,) = call("sum", "float32", [x], [[], "float64", False], [((), "float64")])
    assert total == pytest.approx(x.astype(np.float64).sum(), rel=1e-15)


@FEW
@given(fold=folds(), seed=SEEDS)
def test_sum_and_mean_gradients(call: Call, fold: Fold, seed: int) -> None:
    x = draw(fold.shape, "float64", seed, -4, 4)
    g = draw(fold.shape_out, "float64", seed + 1, -4, 4)
    attributes = [fold.axes, fold.keepdim, not fold.axes]
    (got,) = call("sum_grad", "float64", [x, g], attributes, [(fold.shape, "float64")])
    assert_exact(got, fold.spread(g))
    (got,) = call("mean_grad", "float64", [x, g], attributes, [(fold.shape, "float64")])
    assert_exact(got, fold.spread(g / max(fold.count, 1)))


def test_sum_gradient_keeps_the_operand_dtype(call: Call) -> None:
    x, g = np.ones((2, 3), np.float32), np.array([1.0, 2.0])
    (got,) = call("sum_grad", "float64", [x, g], [[1], False, False], [((2, 3), "float32")])
    assert_exact(got, np.array([[1, 1, 1], [2, 2, 2]], np.float32))


@FEW
@given(shape=SHAPES, seed=SEEDS)
def test_mean_all(call: Call, shape: tuple[int, ...], seed: int) -> None:
    x = draw(shape, "float64", seed, -4, 4)
    (mean,) = call("mean_all", "float64", [x], [], [((), "float64")])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(mean, wide(x).sum() / np.longdouble(x.size), rtol=1e-13, atol=1e-14)
    (got,) = call("mean_all_grad", "float64", [x, np.array(3.0)], [], [(shape, "float64")])
    assert_exact(got, np.full(shape, 3.0 / max(x.size, 1)))


EXTREMES: dict[str, Callable[..., Array]] = {"max": np.max, "min": np.min}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("name", EXTREMES)
@FEW
@given(fold=folds(), seed=SEEDS, specials=st.booleans())
def test_extremes(call: Call, name: str, dtype: str, fold: Fold, seed: int, specials: bool) -> None:
    x = draw(fold.shape, dtype, seed, -4, 4)
    x = with_specials(x, seed) if specials and dtype in FLOATS else x
    arguments = [name, dtype, [x], [fold.axes, fold.keepdim], [(fold.shape_out, dtype)]]
    if fold.count == 0 and int(np.prod(fold.shape_out)) > 0:
        with pytest.raises(ValueError, match="no largest or smallest element"):
            call(*arguments)
        return
    (got,) = call(*arguments)
    with np.errstate(invalid="ignore"):
        wanted = EXTREMES[name](x, axis=fold.numpy, keepdims=fold.keepdim) if fold.count else np.empty(fold.shape_out)
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == dtype


@pytest.mark.parametrize("name", EXTREMES)
@FEW
@given(fold=folds(FULL_SHAPES), seed=SEEDS)
def test_ties_share_the_gradient_of_an_extreme(call: Call, name: str, fold: Fold, seed: int) -> None:
    x = np.floor(draw(fold.shape, "float64", seed, 0, 3))
    out = np.asarray(EXTREMES[name](x, axis=fold.numpy, keepdims=fold.keepdim))
    g = draw(fold.shape_out, "float64", seed + 1, 1, 4)
    attributes = [fold.axes, fold.keepdim, not fold.axes]
    (got,) = call(f"{name}_grad", "float64", [x, out, g], attributes, [(fold.shape, "float64")])
    ties = x == fold.spread(out)
    assert_exact(got, np.where(ties, fold.spread(g / ties.sum(axis=fold.numpy, keepdims=fold.keepdim)), 0.0))


def test_gradient_of_the_maximum_of_nan_is_nan(call: Call) -> None:
    x = np.array([[1.0, np.nan], [1.0, 2.0]])
    inputs = [x, np.array([np.nan, 2.0]), np.ones(2)]
    (got,) = call("max_grad", "float64", inputs, [[1], False, False], [((2, 2), "float64")])
    np.testing.assert_array_equal(got, [[np.nan, np.nan], [0.0, 1.0]])


@FEW
@given(fold=folds(), seed=SEEDS)
def test_prod(call: Call, fold: Fold, seed: int) -> None:
    x = draw(fold.shape, "float64", seed, -2, 2)
    attributes = [fold.axes, fold.keepdim, not fold.axes]
    (got,) = call("prod", "float64", [x], attributes, [(fold.shape_out, "float64")])
    np.testing.assert_allclose(got, wide(x).prod(axis=fold.numpy, keepdims=fold.keepdim).astype(float), rtol=1e-12)


@FEW
@given(fold=folds(FULL_SHAPES), seed=SEEDS, zeros=st.booleans())
def test_prod_gradient(call: Call, fold: Fold, seed: int, zeros: bool) -> None:
    x = draw(fold.shape, "float64", seed, 0.5, 1.5)
    x = np.where(draw(fold.shape, "bool", seed + 2, 0, 2) & zeros, 0.0, x)
    out = np.asarray(x.prod(axis=fold.numpy, keepdims=fold.keepdim))
    g = draw(fold.shape_out, "float64", seed + 1, -2, 2)
    attributes = [fold.axes, fold.keepdim, not fold.axes]
    (got,) = call("prod_grad", "float64", [x, out, g], attributes, [(fold.shape, "float64")])
    assert_gradient(got, lambda v: v.prod(axis=fold.numpy, keepdims=fold.keepdim), x, g)


@pytest.mark.parametrize("dtype", ["bool", "float32", "int64"])
@pytest.mark.parametrize("name", ["any", "all"])
@FEW
@given(fold=folds(), seed=SEEDS)
def test_any_and_all(call: Call, name: str, dtype: str, fold: Fold, seed: int) -> None:
    x = draw(fold.shape, "bool", seed, 0, 2).astype(dtype)
    (got,) = call(name, dtype, [x], [fold.axes, fold.keepdim], [(fold.shape_out, "bool")])
    assert_exact(got, np.asarray(getattr(np, name)(x != 0, axis=fold.numpy, keepdims=fold.keepdim)))


@pytest.mark.parametrize("position", ["int32", "int64"])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
@FEW
@given(shape=array_shapes(min_dims=0, max_dims=4, max_side=5), seed=SEEDS, data=st.data())
def test_positions(
    call: Call, name: str, position: str, shape: tuple[int, ...], seed: int, data: st.DataObject
) -> None:
    x = np.floor(draw(shape, "float32", seed, 0, 4))  # ties: the first one counts
    x = with_specials(x, seed) if data.draw(st.booleans()) else x
    flatten, keepdim = data.draw(st.booleans()), data.draw(st.booleans())
    axis = data.draw(st.integers(-max(len(shape), 1), max(len(shape), 1) - 1))
    passed_over = np.where(np.isnan(x), -np.inf if name == "argmax" else np.inf, x)
    only = {"argmax": x == -np.inf, "argmin": x == np.inf}[name]  # no better than a NaN, which is not to be found
    hypothesis.assume(not (only.any() and np.isnan(x).any()))
    wanted = getattr(np, name)(passed_over, axis=None if flatten or not shape else axis, keepdims=keepdim)
    (got,) = call(name, "float32", [x], [axis, keepdim, flatten, position], [(wanted.shape, position)])
    assert_exact(got, np.asarray(wanted).astype(position))


def test_argmax_of_nothing(call: Call) -> None:
    with pytest.raises(ValueError, match=r"\[3, 0\] has no largest"):
        call("argmax", "float32", [np.empty((3, 0), np.float32)], [1, False, False, "int64"], [((3,), "int64")])


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "int64"])
@FEW
@given(
    shape=SHAPES,
    seed=SEEDS,
    axis=st.integers(-4, 3),
    flatten=st.booleans(),
    exclusive=st.booleans(),
    reverse=st.booleans(),
)
def test_cumsum(
    call: Call, dtype: str, shape: tuple[int, ...], seed: int, axis: int, flatten: bool, exclusive: bool, reverse: bool
) -> None:
    axis = axis % max(len(shape), 1)
    x = draw(shape, dtype, seed, -9, 9)

    def running(values: Array, backwards: bool) -> Array:
        flat = values.reshape(-1) if flatten or not shape else values
        along = 0 if flatten or not shape else axis
        ordered = np.flip(flat, along) if backwards else flat
        total = np.cumsum(ordered, axis=along, dtype=np.longdouble if dtype in FLOATS else np.int64)
        total = total - ordered if exclusive else total
        return (np.flip(total, along) if backwards else total).reshape((-1,) if flatten else shape)

    attributes = [axis, flatten, exclusive, reverse]
    wanted = running(x, reverse)
    (got,) = call("cumsum", dtype, [x], attributes, [(wanted.shape, dtype)])
    np.testing.assert_allclose(got, wanted.astype(dtype), rtol=1e-6 if dtype == "float32" else 1e-13, atol=1e-5)
    g = draw(wanted.shape, dtype, seed + 1, -9, 9)
    (got,) = call("cumsum_grad", dtype, [x, g], attributes, [(shape, dtype)])
    wanted = running(g.reshape(shape), not reverse).reshape(shape)
    np.testing.assert_allclose(got, wanted.astype(dtype), rtol=1e-6 if dtype == "float32" else 1e-13, atol=1e-5)


def logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.log(np.sum(np.exp(x), axis=axes, keepdims=keepdims)))


@pytest.mark.parametrize("dtype", FLOATS)
@FEW
@given(fold=folds(), seed=SEEDS, specials=st.booleans())
def test_logsumexp(call: Call, dtype: str, fold: Fold, seed: int, specials: bool) -> None:
    x = draw(fold.shape, dtype, seed, -300, 300)  # exp overflows in float32, not in extended precision
    x = with_specials(x, seed) if specials else x
    attributes = [fold.axes, fold.keepdim, not fold.axes]
    (got,) = call("logsumexp", dtype, [x], attributes, [(fold.shape_out, dtype)])
    wanted = logsumexp(wide(x), fold.numpy, fold.keepdim)
    assert_within_ulps(got, wanted, 4, np.maximum(np.abs(wanted), 1))


@FEW
@given(fold=folds(FULL_SHAPES), seed=SEEDS)
def test_logsumexp_gradient(call: Call, fold: Fold, seed: int) -> None:
    x = draw(fold.shape, "float64", seed, -3, 3)
    out = logsumexp(x, fold.numpy, fold.keepdim)
    g = draw(fold.shape_out, "float64", seed + 1, -2, 2)
    attributes = [fold.axes, fold.keepdim, not fold.axes]
    (got,) = call("logsumexp_grad", "float64", [x, out, g], attributes, [(fold.shape, "float64")])
    assert_gradient(got, lambda v: logsumexp(v, fold.numpy, fold.keepdim), x, g)


def softmax(x: Array, axis: int) -> Array:
    if x.ndim == 0:
        return np.asarray(np.ones_like(x) + x * 0)
    powers = np.exp(x - (x.max(axis=axis, keepdims=True) if x.size else 0))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def log_softmax(x: Array, axis: int) -> Array:
    if x.ndim == 0:
        return np.asarray(x * 0)
    shifted = x - (x.max(axis=axis, keepdims=True) if x.size else 0)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


SOFTMAX = {"softmax": softmax, "log_softmax": log_softmax}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", SOFTMAX)
@FEW
@given(shape=SHAPES, seed=SEEDS, axis=st.integers(-4, 3), specials=st.booleans(), in_place=st.booleans())
def test_softmax(
    call: Call, name: str, dtype: str, shape: tuple[int, ...], seed: int, axis: int, specials: bool, in_place: bool
) -> None:
    axis = axis % max(len(shape), 1)
    x = draw(shape, dtype, seed, -30, 30)
    x = with_specials(x, seed) if specials else x
    with np.errstate(all="ignore"):
        wanted = np.asarray(SOFTMAX[name](wide(x), axis))
    (got,) = call(name, dtype, [x], [axis], [x if in_place else (shape, dtype)])
    # exp of a rounded difference: its error is that of an argument of up to 60
    assert_within_ulps(got, wanted, 64, np.maximum(np.abs(wanted), 1) if name == "log_softmax" else None)


@pytest.mark.parametrize("name", SOFTMAX)
@FEW
@given(shape=FULL_SHAPES, seed=SEEDS, axis=st.integers(-3, 2))
def test_softmax_gradient(call: Call, name: str, shape: tuple[int, ...], seed: int, axis: int) -> None:
    axis = axis % max(len(shape), 1)
    x = draw(shape, "float64", seed, -3, 3)
    g = draw(shape, "float64", seed + 1, -2, 2)
    out = SOFTMAX[name](x, axis)
    (got,) = call(f"{name}_grad", "float64", [np.asarray(out), g], [axis], [(shape, "float64")])
    assert_gradient(got, lambda v: SOFTMAX[name](v, axis), x, g)


def test_an_axis_outside_the_tensor_is_refused(call: Call) -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="axis 2 is outside a tensor of rank 2"):
        call("sum", "float32", [x], [[2], "float32", False], [((2,), "float32")])
    with pytest.raises(ValueError, match="axis -3 is outside"):
        call("softmax", "float32", [x], [-3], [((2, 3), "float32")])
