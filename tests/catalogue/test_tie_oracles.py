"""Oracles of sorting, on every kind of whole number."""

from __future__ import annotations

import numpy as np
import pytest
from adapter_conform.catalogue.registry import get


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int64", "float32"])
def test_falling_order_is_stable(dtype: str) -> None:
    """Unsigned numbers have no negative, and the smallest signed one is its own."""
    values = np.array([4, 3, 0, 4, 0], dtype)
    if np.issubdtype(values.dtype, np.integer):
        values[2] = values[4] = np.iinfo(dtype).min
    (places,) = get("argsort_stable").oracle([values], {"descending": True})
    assert places.tolist() == [0, 3, 1, 2, 4]
