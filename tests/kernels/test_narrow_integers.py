"""Small integers: what only moves takes them, whole numbers are their own floor, their exponential is float32's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_checks import Array, assert_exact

Call = Callable[..., list[Any]]
NARROW = ("int8", "uint8")


def drawn(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    low, high = (0, 256) if dtype == "uint8" else (-128, 128)
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize("dtype", NARROW)
def test_choosing_and_filling(call: Call, dtype: str) -> None:
    x = drawn((5, 7), dtype)
    mask = np.random.default_rng(1).random((5, 7)) < 0.5
    assert_exact(call("masked_select", dtype, [x, mask], [], [((-1,), dtype)])[0], x[mask])
    value = drawn((1,), dtype, 2)
    (filled,) = call("masked_fill", dtype, [x, mask, value], [], [((5, 7), dtype)])
    assert_exact(filled, np.where(mask, value[0], x))
    assert_exact(
        call("full_with_tensor", dtype, [value], [[3, 2], dtype], [((3, 2), dtype)])[0], np.full((3, 2), value[0])
    )


@pytest.mark.parametrize("dtype", NARROW)
def test_running_sums_wrap_like_the_dtype(call: Call, dtype: str) -> None:
    x = drawn((4, 9), dtype)
    (got,) = call("cumsum", dtype, [x], [1, False, False, False], [((4, 9), dtype)])
    assert_exact(got, np.cumsum(x, axis=1, dtype=dtype))


@pytest.mark.parametrize("dtype", ["int32", "int64", "int8", "uint8"])
@pytest.mark.parametrize("name", ["floor", "ceil"])
def test_whole_numbers_are_their_own_floor(call: Call, name: str, dtype: str) -> None:
    x = np.array([np.iinfo(dtype).min, 0, 1, np.iinfo(dtype).max], dtype)
    assert_exact(call(name, dtype, [x], [], [((4,), dtype)])[0], x)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_functions_of_whole_numbers_are_float32(call: Call, dtype: str) -> None:
    x = np.array([1, 2, 7, 40], dtype)
    for name, function in (("exp", np.exp), ("log", np.log)):
        (got,) = call(name, dtype, [x], [], [((4,), "float32")])
        np.testing.assert_allclose(got, function(x.astype(float)), rtol=3e-7)
