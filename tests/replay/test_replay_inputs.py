"""Seeded inputs: elements in their ranges, the same for the same call and seed."""

from __future__ import annotations

import numpy as np
import pytest
from adapter_conform.replay.inputs import (
    ANY,
    NONZERO,
    POSITIVE,
    UNIT,
    Fill,
    among,
    byte_size,
    distinct,
    draw,
    generator,
    index,
    nearly,
)
from adapter_conform.replay.syntax import TensorArg
from hypothesis import given
from hypothesis import strategies as st

DTYPES = ["bool", "uint8", "int8", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


@given(
    dtype=st.sampled_from(DTYPES),
    fill=st.sampled_from([ANY, POSITIVE, NONZERO, UNIT, index(1), among(0.0, 1.0)]),
    shape=st.lists(st.integers(0, 5), max_size=3).map(tuple),
    seed=st.integers(0, 2**32),
)
def test_shape_dtype_and_repetition(dtype: str, fill: Fill, shape: tuple[int, ...], seed: int) -> None:
    tensor = TensorArg(shape, dtype)
    array = draw(tensor, fill, generator(seed, "call"))
    assert array.shape == shape
    assert array.dtype.name == dtype
    assert array.tobytes() == draw(tensor, fill, generator(seed, "call")).tobytes()
    assert array.nbytes == byte_size([tensor])


def test_other_seeds_and_other_calls_give_other_elements() -> None:
    tensor = TensorArg((64,), "float32")
    drawn = {draw(tensor, ANY, generator(seed, call)).tobytes() for seed in (0, 1) for call in ("a", "b")}
    assert len(drawn) == 4


def test_ranges() -> None:
    rng = generator(0, "ranges")
    many = TensorArg((4000,), "float32")
    positive, nonzero, unit = (draw(many, fill, rng) for fill in (POSITIVE, NONZERO, UNIT))
    assert positive.min() >= 0.5
    assert positive.max() <= 2
    assert np.abs(nonzero).min() >= 0.5
    assert 0.4 < np.mean(nonzero > 0) < 0.6
    assert 0 <= unit.min() < unit.max() < 1
    whole = draw(TensorArg((4000,), "int64"), index(7, low=2), rng)
    assert (whole.min(), whole.max()) == (2, 6)
    some = draw(many, among(-100.0), rng)
    assert 0.25 < np.mean(some == -100) < 0.42


def test_distinct_indices() -> None:
    rng = generator(0, "distinct")
    found = draw(TensorArg((20, 2), "int64"), distinct(50), rng)
    assert len(set(found.reshape(-1).tolist())) == 40
    assert found.max() < 50
    with pytest.raises(ValueError, match="40 distinct indices do not fit"):
        draw(TensorArg((40,), "int64"), distinct(39), rng)
    with pytest.raises(ValueError, match="empty"):
        draw(TensorArg((1,), "int64"), index(0), rng)


def test_nearly_constant_bools_come_in_both_kinds() -> None:
    rng = generator(0, "nearly")
    counts = {int(np.count_nonzero(~draw(TensorArg((5, 5), "bool"), nearly(True), rng))) for _ in range(40)}
    assert counts == {0, 1}
