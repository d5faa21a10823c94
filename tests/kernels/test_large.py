"""Tensors of more than 2^31 elements: every index has 64 bits. Needs about 5 GiB of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_checks import Array

Call = Callable[..., list[Any]]

COUNT = 2**31 + 100
FAR = (2**31 - 1, 2**31, COUNT - 7)

pytestmark = pytest.mark.slow


@pytest.fixture
def sparse() -> Array:
    """Zeros, but for three elements about and beyond number 2^31."""
    array = np.zeros(COUNT, np.uint8)
    array[list(FAR)] = [1, 2, 3]
    return array


def test_elementwise(call: Call, sparse: Array) -> None:
    (got,) = call("bitwise_not", "uint8", [sparse], [], [(sparse.shape, "uint8")])
    assert [int(got[i]) for i in FAR] == [254, 253, 252]
    assert np.count_nonzero(got != 255) == len(FAR)


def test_reductions(call: Call, sparse: Array) -> None:
    truth = sparse.view(bool)
    (position,) = call("argmax", "uint8", [sparse], [0, False, True, "int64"], [((), "int64")])
    assert int(position) == FAR[-1]
    (found,) = call("any", "uint8", [sparse], [[], False], [((), "bool")])
    assert bool(found)
    (total,) = call("sum", "bool", [np.not_equal(truth, 0, out=truth)], [[], "int64", False], [((), "int64")])
    assert int(total) == len(FAR)


def test_movement(call: Call, sparse: Array) -> None:
    """Rows of four, taken from the far end and put together again."""
    rows = sparse.reshape(-1, 4)
    (got,) = call("slice", "int8", [rows.view(np.int8)], [[0], [2**29 - 1], [2**29 + 1], [1], []], [((2, 4), "int8")])
    np.testing.assert_array_equal(got, rows[2**29 - 1 : 2**29 + 1])
