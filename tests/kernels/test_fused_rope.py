"""Rotary position embedding against complex rotation in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kernel_checks import Array

Call = Callable[..., list[Any]]

ROUNDING = {"float64": 2.0**-50, "float32": 2.0**-22, "float16": 2.0**-10, "bfloat16": 2.0**-7}
NAME = "fused_rotary_position_embedding"


def drawn(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    values = np.random.default_rng(seed).uniform(-2, 2, shape)
    return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def rotated(x: Array, angle: Array, neighbours: bool, direction: int) -> Array:
    """``x`` [batch, sequence, heads, dim]; ``angle`` [batch, sequence, dim / 2], in radians."""
    half = x.shape[-1] // 2
    first, second = (x[..., 0::2], x[..., 1::2]) if neighbours else (x[..., :half], x[..., half:])
    turned = (first + 1j * second) * np.exp(1j * direction * angle[:, :, None, :])
    result = np.empty_like(x)
    if neighbours:
        result[..., 0::2], result[..., 1::2] = turned.real, turned.imag
    else:
        result[..., :half], result[..., half:] = turned.real, turned.imag
    return result


def table(angle: Array, neighbours: bool) -> Array:
    """An angle for each pair, repeated for both of its elements as Paddle's sin and cos have it."""
    return np.repeat(angle, 2, -1) if neighbours else np.concatenate([angle, angle], -1)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("neighbours", [True, False])
@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("heads", [(4, 4, 4), (4, 1, 2), (3, None, None), (2, 2, None)])
def test_rotation(
    call: Call, dtype: str, neighbours: bool, positions: bool, time_major: bool, heads: tuple[int | None, ...]
) -> None:
    batch, sequence, dim, length = 2, 5, 12, 9
    rng = np.random.default_rng(7)
    angle = rng.uniform(-3, 3, (length if positions else sequence, dim // 2))
    storage = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    sin, cos = (table(f(angle), neighbours).astype(storage) for f in (np.sin, np.cos))
    ids = rng.integers(0, length, (batch, sequence)) if positions else np.tile(np.arange(sequence), (batch, 1))
    own = np.arctan2(sin.astype(float), cos.astype(float))[..., :: 2 if neighbours else 1][:, : dim // 2]
    stretch = np.hypot(sin.astype(float), cos.astype(float))[..., :: 2 if neighbours else 1][:, : dim // 2]
    tensors = [None if h is None else drawn((batch, sequence, h, dim), dtype, i) for i, h in enumerate(heads)]

    def laid(x: Array | None) -> Array | None:
        return x if x is None or not time_major else np.ascontiguousarray(np.swapaxes(x, 0, 1))

    inputs = [*map(laid, tensors), sin[None, :, None], cos[None, :, None], ids if positions else None]
    outputs = [None if x is None else (x.shape, dtype) for x in map(laid, tensors)]
    attributes = [neighbours, time_major, 10000.0]
    results = call(NAME, dtype, inputs, attributes, outputs)
    backward = call(f"{NAME}_grad", dtype, [*inputs[3:], *inputs[:3]], attributes, outputs)
    pairs = np.broadcast_to(stretch[ids][:, :, None], (batch, sequence, 1, dim // 2))
    scale = table(pairs, neighbours)
    for direction, found in ((1, results), (-1, backward)):
        for x, got in zip(tensors, found, strict=True):
            if x is None:
                continue
            exact = laid(rotated(x.astype(float), own[ids], neighbours, direction) * scale)
            assert got.shape == exact.shape
            np.testing.assert_array_less(np.abs(got.astype(float) - exact), 6 * ROUNDING[dtype])


@pytest.mark.parametrize("dtype", ROUNDING)
def test_computed_angles(call: Call, dtype: str) -> None:
    x = drawn((1, 300, 2, 8), dtype, 1)
    got, _, _ = call(
        NAME, dtype, [x, None, None, None, None, None], [True, False, 500.0], [(x.shape, dtype), None, None]
    )
    angle = np.arange(300)[:, None] * 500.0 ** (-np.arange(0, 8, 2) / 8)
    exact = rotated(x.astype(float), angle[None], True, 1)
    np.testing.assert_array_less(np.abs(got.astype(float) - exact), 6 * ROUNDING[dtype])


@pytest.mark.parametrize("neighbours", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_in_place_and_with_a_float_table(call: Call, neighbours: bool, dtype: str) -> None:
    x = drawn((2, 6, 3, 10), dtype, 1)
    angle = np.random.default_rng(3).uniform(-1, 1, (6, 5))
    sin, cos = (table(f(angle), neighbours).astype(np.float32) for f in (np.sin, np.cos))
    inputs, attributes = [x, None, None, sin, cos, None], [neighbours, False, 10000.0]
    fresh = call(NAME, dtype, inputs, attributes, [(x.shape, dtype), None, None])[0]
    place = x.copy()
    call(NAME, dtype, [place, *inputs[1:]], attributes, [place, None, None])
    np.testing.assert_array_equal(place.astype(float), fresh.astype(float))
    exact = rotated(x.astype(float), np.broadcast_to(angle, (2, 6, 5)), neighbours, 1)
    np.testing.assert_array_less(np.abs(fresh.astype(float) - exact), 6 * ROUNDING[dtype])


def test_without_elements(call: Call) -> None:
    for shape in ((0, 4, 2, 8), (2, 0, 2, 8), (2, 4, 0, 8), (2, 4, 2, 0)):
        x = np.zeros(shape, np.float32)
        got = call(
            NAME, "float32", [x, x, None, None, None, None], [True, False, 1e4], [(shape, "float32")] * 2 + [None]
        )
        assert [y.shape for y in got[:2]] == [shape, shape]


def test_refusals(call: Call) -> None:
    q = np.ones((1, 3, 2, 4), np.float32)
    good = np.ones((3, 4), np.float32)
    out = [(q.shape, "float32"), None, None]

    def attempt(*inputs: Any) -> None:
        call(NAME, "float32", [q, None, None, *inputs], [True, False, 1e4], out)

    with pytest.raises(ValueError, match="sin without cos"):
        attempt(good, None, None)
    with pytest.raises(ValueError, match="3 positions"):
        attempt(good[:2], good[:2], None)
    with pytest.raises(ValueError, match="position_ids"):
        attempt(good, good, np.zeros((3, 1), np.int64))
    with pytest.raises(RuntimeError, match="outside a table"):
        attempt(good, good, np.array([[0, 3, 1]]))
    x = np.ones((1, 3, 2, 3), np.float32)
    with pytest.raises(ValueError, match="odd size"):
        call(NAME, "float32", [x, None, None, None, None, None], [True, False, 1e4], [(x.shape, "float32"), None, None])
