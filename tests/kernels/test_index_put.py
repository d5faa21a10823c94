"""Writing through index tensors, and the gradients of it and of masked_select, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kernel_checks import Array

Call = Callable[..., list[Any]]

DTYPES = ("float64", "float32", "float16", "bfloat16", "int32", "int64")


def drawn(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    values = np.random.default_rng(seed).integers(-8, 9, shape)  # whole numbers: sums are exact
    return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def indices(kind: str) -> tuple[list[Array], tuple[int, ...]]:
    """Index tensors for a [6, 5, 4], and the shape of what they select."""
    rng = np.random.default_rng(3)
    if kind == "one":
        return [rng.integers(-6, 6, (7,))], (7, 5, 4)
    if kind == "broadcast":
        return [rng.integers(0, 6, (3, 1)), rng.integers(-5, 5, (2,)).astype(np.int32)], (3, 2, 4)
    if kind == "all":
        return [rng.integers(0, n, (9,)) for n in (6, 5, 4)], (9,)
    if kind == "none":
        return [np.zeros((0,), np.int64)], (0, 5, 4)
    mask = rng.random((6, 5)) < 0.4
    return [mask], (int(mask.sum()), 4)


def numpy_index(index: list[Array]) -> Any:
    return index[0] if index[0].dtype == bool else tuple(index)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["one", "broadcast", "all", "none", "mask"])
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("scalar", [False, True])
def test_index_put(call: Call, dtype: str, kind: str, accumulate: bool, scalar: bool) -> None:
    index, shape = indices(kind)
    x, value = drawn((6, 5, 4), dtype, 1), drawn((1,) if scalar else shape, dtype, 2)
    exact = x.astype(float)
    if accumulate:
        np.add.at(exact, numpy_index(index), value.astype(float))
    else:
        exact[numpy_index(index)] = value.astype(float)
    (got,) = call("index_put", dtype, [x, index, value], [accumulate], [(x.shape, dtype)])
    np.testing.assert_array_equal(got.astype(float), exact)
    place = x.copy()
    call("index_put", dtype, [place, index, value], [accumulate], [place])
    np.testing.assert_array_equal(place.astype(float), exact)
    g = drawn(x.shape, dtype, 4)
    outputs = [(x.shape, dtype), (value.shape, dtype)]
    dx, dvalue = call("index_put_grad", dtype, [x, index, value, g], [accumulate], outputs)
    wanted = g.astype(float)
    picked = wanted[numpy_index(index)]
    np.testing.assert_array_equal(dvalue.astype(float), picked.sum().reshape(1) if scalar else picked)
    if not accumulate:
        wanted = wanted.copy()
        wanted[numpy_index(index)] = 0
    np.testing.assert_array_equal(dx.astype(float), wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_added_values_are_rounded_once(call: Call, dtype: str) -> None:
    x = drawn((2, 3), dtype, 1) * 0
    value = (x[0:1] + 1).repeat(3000, 0)
    (got,) = call("index_put", dtype, [x, [np.zeros(3000, np.int64)], value], [True], [(x.shape, dtype)])
    assert (got[0].astype(float) == np.float64(np.asarray(3000).astype(x.dtype))).all()


def test_index_put_refusals(call: Call) -> None:
    x = np.zeros((3, 4), np.float32)
    out = [(x.shape, "float32")]
    with pytest.raises(RuntimeError, match="index 3"):
        call("index_put", "float32", [x, [np.array([3])], x[:1]], [False], out)
    with pytest.raises(ValueError, match="do not broadcast"):
        call("index_put", "float32", [x, [np.array([1, 2])], np.zeros((3, 4), np.float32)], [False], out)
    with pytest.raises(ValueError, match="3 indices"):
        call("index_put", "float32", [x, [np.array([1])] * 3, x[:1]], [False], out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "mask_shape"), [((4, 5), (4, 5)), ((4, 5), (5,)), ((3, 1), (3, 6)), ((), ()), ((0, 2), (0, 2))]
)
def test_masked_select(call: Call, dtype: str, shape: tuple[int, ...], mask_shape: tuple[int, ...]) -> None:
    x, mask = drawn(shape, dtype, 1), np.asarray(np.random.default_rng(2).random(mask_shape) < 0.5)
    wide, chosen = np.broadcast_arrays(x.astype(float), mask)
    (got,) = call("masked_select", dtype, [x, mask], [], [((-1,), dtype)])
    np.testing.assert_array_equal(got.astype(float), wide[chosen])
    g = drawn((int(chosen.sum()),), dtype, 3)
    (dx,) = call("masked_select_grad", dtype, [x, mask, g], [], [(shape, dtype)])
    places = np.broadcast_to(np.arange(x.size).reshape(shape), chosen.shape)[chosen]
    exact = np.bincount(places, g.astype(float), x.size).reshape(shape) if x.size else np.zeros(shape)
    np.testing.assert_array_equal(dx.astype(float), exact)
