"""Kernels that pick elements by index, and sorting, against NumPy's indexing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from kernel_checks import Array, assert_exact, draw

Call = Callable[..., list[Any]]

SHAPES = array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)
SEEDS = st.integers(0, 2**32 - 2)
COUNTS = st.integers(0, 7)
INDEX_DTYPES = ("int32", "int64")
FEW = settings(max_examples=40, deadline=None)


def indices(shape: tuple[int, ...], length: int, dtype: str, seed: int, from_end: bool = True) -> Array:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.integers(-length if from_end else 0, length, shape)).astype(dtype)


def close(got: Array, wanted: Array) -> None:
    """Sums that are held in double: their order does not show in float64 beyond the last places."""
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
@FEW
@given(
    rows=st.integers(1, 6),
    width=st.integers(0, 4),
    seed=SEEDS,
    padding=st.integers(-1, 5),
    shape=array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
def test_embedding(
    call: Call, dtype: str, rows: int, width: int, seed: int, padding: int, shape: tuple[int, ...]
) -> None:
    padding = min(padding, rows - 1)
    ids = indices(shape, rows, dtype, seed, from_end=False)
    weight = draw((rows, width), "float64", seed, -2, 2)
    (got,) = call("embedding", "float64", [ids, weight], [padding], [((*shape, width), "float64")])
    known = (ids != padding)[..., None]
    assert_exact(got, np.where(known, weight[ids], 0.0))
    g = draw((*shape, width), "float64", seed + 1, -2, 2)
    wanted = np.zeros_like(weight)
    np.add.at(wanted, ids, np.where(known, g, 0.0))
    (got,) = call("embedding_grad", "float64", [ids, weight, g], [padding], [(weight.shape, "float64")])
    close(got, wanted)


def test_embedding_gradient_is_held_in_double(call: Call) -> None:
    g = np.full((1 << 12, 1), 0.1, np.float32)
    g[0] = 1 << 22
    inputs = [np.zeros(1 << 12, np.int64), np.zeros((2, 1), np.float32), g]
    (got,) = call("embedding_grad", "float32", inputs, [-1], [((2, 1), "float32")])
    assert_exact(got, np.array([[g.astype(np.float64).sum()], [0]], np.float32))


@pytest.mark.parametrize("wrong", [-1, 4])
def test_embedding_of_an_unknown_id_is_an_error(call: Call, wrong: int) -> None:
    ids, weight = np.array([0, 1, wrong]), np.ones((4, 2))
    message = f"embedding: id {wrong} at position 2 is outside a table of 4 rows"
    with pytest.raises(RuntimeError, match=message):
        call("embedding", "float64", [ids, weight], [-2], [((3, 2), "float64")])
    with pytest.raises(RuntimeError, match=message):
        call("embedding_grad", "float64", [ids, weight, np.ones((3, 2))], [-2], [((4, 2), "float64")])


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
@pytest.mark.parametrize("name", ["gather", "index_select"])
@FEW
@given(shape=SHAPES, seed=SEEDS, count=st.one_of(st.none(), COUNTS), axis=st.integers(-4, 3))
def test_rows_along_an_axis(
    call: Call, name: str, dtype: str, shape: tuple[int, ...], seed: int, count: int | None, axis: int
) -> None:
    axis = axis % len(shape)
    index = indices(() if count is None else (count,), shape[axis], dtype, seed)
    x = draw(shape, "float64", seed, -2, 2)
    wanted = np.take(x, index, axis=axis)
    (got,) = call(name, "float64", [x, index], [axis], [(wanted.shape, "float64")])
    assert_exact(got, np.asarray(wanted))
    g = draw(wanted.shape, "float64", seed + 1, -2, 2)
    summed = np.zeros_like(x)
    np.add.at(np.moveaxis(summed, axis, 0), index, np.moveaxis(g, axis, 0) if count is not None else g)
    (got,) = call(f"{name}_grad", "float64", [x, index, g], [axis], [(shape, "float64")])
    close(got, summed)


def test_gather_takes_a_column_as_a_list(call: Call) -> None:
    x, index = np.arange(6.0).reshape(3, 2), np.array([[2], [0]])
    (got,) = call("gather", "float64", [x, index], [0], [((2, 2), "float64")])
    assert_exact(got, x[[2, 0]])


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
@FEW
@given(shape=SHAPES, seed=SEEDS, count=COUNTS, depth=st.integers(0, 4))
def test_gather_nd(call: Call, dtype: str, shape: tuple[int, ...], seed: int, count: int, depth: int) -> None:
    depth = min(depth, len(shape))
    columns = [indices((count,), shape[axis], dtype, seed + axis) for axis in range(depth)]
    index = np.stack(columns, axis=1) if columns else np.empty((count, 0), dtype)
    x = draw(shape, "float64", seed, -2, 2)
    wanted = x[tuple(columns)] if columns else np.broadcast_to(x, (count, *shape)).copy()
    (got,) = call("gather_nd", "float64", [x, index], [], [(wanted.shape, "float64")])
    assert_exact(got, wanted)
    g = draw(wanted.shape, "float64", seed + 9, -2, 2)
    summed = np.zeros_like(x)
    if columns:
        np.add.at(summed, tuple(columns), g)
    else:
        summed = g.sum(axis=0)
    (got,) = call("gather_nd_grad", "float64", [x, index, g], [], [(shape, "float64")])
    close(got, summed)


def test_gather_nd_keeps_the_shape_of_the_index(call: Call) -> None:
    x = np.arange(12, dtype=np.int64).reshape(3, 4)
    index = np.array([[[0, 1], [2, 3]]])
    (got,) = call("gather_nd", "int64", [x, index], [], [((1, 2), "int64")])
    assert_exact(got, np.array([[1, 11]]))


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
@FEW
@given(shape=SHAPES, seed=SEEDS, axis=st.integers(-4, 3), data=st.data())
def test_take_along_axis(
    call: Call, dtype: str, shape: tuple[int, ...], seed: int, axis: int, data: st.DataObject
) -> None:
    axis = axis % len(shape)
    sides = [data.draw(COUNTS if i == axis else st.integers(0, n)) for i, n in enumerate(shape)]
    index = indices(tuple(sides), shape[axis], dtype, seed)
    x = draw(shape, "float64", seed, -2, 2)
    places = tuple(index % shape[axis] if i == axis else grid for i, grid in enumerate(np.indices(index.shape)))
    (got,) = call("take_along_axis", "float64", [x, index], [axis], [(index.shape, "float64")])
    assert_exact(got, x[places])
    g = draw(index.shape, "float64", seed + 1, -2, 2)
    summed = np.zeros_like(x)
    np.add.at(summed, places, g)
    (got,) = call("take_along_axis_grad", "float64", [x, index, g], [axis], [(shape, "float64")])
    close(got, summed)


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
@FEW
@given(rows=COUNTS, columns=st.integers(1, 6), picked=COUNTS, seed=SEEDS)
def test_index_sample(call: Call, dtype: str, rows: int, columns: int, picked: int, seed: int) -> None:
    x = draw((rows, columns), "float64", seed, -2, 2)
    index = indices((rows, picked), columns, dtype, seed, from_end=False)
    (got,) = call("index_sample", "float64", [x, index], [], [(index.shape, "float64")])
    assert_exact(got, np.take_along_axis(x, index.astype(np.int64), axis=1))
    g = draw(index.shape, "float64", seed + 1, -2, 2)
    summed = np.zeros_like(x)
    np.add.at(summed, (np.arange(rows)[:, None], index), g)
    (got,) = call("index_sample_grad", "float64", [x, index, g], [], [(x.shape, "float64")])
    close(got, summed)


OUT_OF_RANGE = {
    "gather": (np.ones((3, 2)), np.array([0, 3]), [0]),
    "index_select": (np.ones((2, 3)), np.array([0, -4]), [1]),
    "gather_nd": (np.ones((2, 3)), np.array([[0, 1], [1, 3]]), []),
    "take_along_axis": (np.ones((2, 3)), np.array([[0, -4]]), [1]),
    "index_sample": (np.ones((1, 3)), np.array([[0, 3]]), []),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_an_index_outside_the_axis_is_an_error(call: Call, name: str) -> None:
    x, index, attributes = OUT_OF_RANGE[name]
    wrong = int(index.flat[-1])
    message = f"{name}: index {wrong} at position 1 is outside an axis of length 3"
    with pytest.raises(RuntimeError, match=message):
        call(name, "float64", [x, index], attributes, [((-1,), "float64")])


@pytest.mark.parametrize("overwrite", [True, False])
@FEW
@given(shape=SHAPES, seed=SEEDS, count=COUNTS, in_place=st.booleans())
def test_scatter(call: Call, overwrite: bool, shape: tuple[int, ...], seed: int, count: int, in_place: bool) -> None:
    x = draw(shape, "float64", seed, -2, 2)
    index = indices((count,), shape[0], "int64", seed)
    updates = draw((count, *shape[1:]), "float64", seed + 1, -2, 2)
    g = draw(shape, "float64", seed + 2, -2, 2)
    wanted = x.copy()
    wanted[index] = 0
    for row, update in zip(index, updates, strict=True):
        wanted[row] = update if overwrite else wanted[row] + update
    (got,) = call("scatter", "float64", [x, index, updates], [overwrite], [x if in_place else (shape, "float64")])
    close(got, wanted)
    wanted = g.copy()
    wanted[index] = 0
    specification = [(shape, "float64"), (updates.shape, "float64")]
    dx, dupdates = call("scatter_grad", "float64", [index, updates, g], [overwrite], specification)
    assert_exact(dx, wanted)
    assert_exact(dupdates, g[index])


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
@FEW
@given(shape=array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), seed=SEEDS, classes=st.integers(1, 6))
def test_one_hot(call: Call, dtype: str, shape: tuple[int, ...], seed: int, classes: int) -> None:
    x = draw(shape, dtype, seed, -2, 9)  # classes that do not exist give rows of zeros
    (got,) = call("one_hot", dtype, [x], [classes], [((*shape, classes), "float32")])
    assert_exact(got, (x[..., None] == np.arange(classes)).astype(np.float32))


def order(x: Array, axis: int, descending: bool) -> Array:
    """Positions in stable order; NaN is larger than every number."""
    _, codes = np.unique(x, return_inverse=True)  # equal values, also NaN, get equal codes, and NaN the largest
    codes = codes.reshape(x.shape)
    return np.argsort(-codes if descending else codes, axis=axis, kind="stable")


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@FEW
@given(shape=SHAPES, seed=SEEDS, axis=st.integers(-4, 3), descending=st.booleans(), specials=st.booleans())
def test_argsort_and_topk(
    call: Call, dtype: str, shape: tuple[int, ...], seed: int, axis: int, descending: bool, specials: bool
) -> None:
    axis = axis % len(shape)
    x = np.floor(draw(shape, "float64", seed, -3, 3))  # ties keep their order
    if specials and dtype == "float32":
        x = np.where(draw(shape, "bool", seed + 1, 0, 2), np.nan, x)
    x = x.astype(dtype)
    positions = order(x, axis, descending)
    specification = [(shape, dtype), (shape, "int64")]
    out, got = call("argsort", dtype, [x], [axis, descending, True], specification)
    assert_exact(got, positions)
    assert_exact(out, np.take_along_axis(x, positions, axis))
    k = seed % (shape[axis] + 1)
    short = tuple(k if i == axis else n for i, n in enumerate(shape))
    best = np.take(positions, np.arange(k), axis=axis)
    out, got = call("topk", dtype, [x], [k, axis, descending, True], [(short, dtype), (short, "int64")])
    assert_exact(got, best)
    assert_exact(out, np.take_along_axis(x, best, axis))


@FEW
@given(shape=SHAPES, seed=SEEDS, axis=st.integers(-4, 3), largest=st.booleans())
def test_gradients_of_sorting(call: Call, shape: tuple[int, ...], seed: int, axis: int, largest: bool) -> None:
    axis = axis % len(shape)
    x = draw(shape, "float64", seed, -2, 2)
    k = seed % (shape[axis] + 1)
    positions = np.take(order(x, axis, largest), np.arange(k), axis=axis)
    g = draw(positions.shape, "float64", seed + 1, -2, 2)
    wanted = np.zeros_like(x)
    np.put_along_axis(wanted, positions, g, axis)
    attributes = [k, axis, largest, True]
    (got,) = call("topk_grad", "float64", [x, positions, g], attributes, [(shape, "float64")])
    assert_exact(got, wanted)
    positions = order(x, axis, largest)
    g = draw(shape, "float64", seed + 1, -2, 2)
    np.put_along_axis(wanted, positions, g, axis)
    (got,) = call("argsort_grad", "float64", [positions, x, g], [axis, largest, True], [(shape, "float64")])
    assert_exact(got, wanted)


def test_topk_of_too_many_is_refused(call: Call) -> None:
    with pytest.raises(ValueError, match="topk: cannot take 4 of 3 elements"):
        call("topk", "float64", [np.ones((2, 3))], [4, -1, True, True], [((2, 4), "float64"), ((2, 4), "int64")])
