"""Comparisons, logic, bits, casts, choices: exact operators, held to NumPy bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes
from kernel_checks import Array, assert_exact, assert_within_ulps, draw, sum_to_shape, with_specials

Call = Callable[..., list[Any]]

INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
ALL = ("float32", "float64", *INTEGERS, "bool")
SHAPES = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
PAIRS = mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4)
TRIPLES = mutually_broadcastable_shapes(num_shapes=3, max_dims=4, min_side=0, max_side=4)
SEEDS = st.integers(0, 2**32 - 3)
FEW = settings(max_examples=25, deadline=None)


def drawn(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    """Few distinct values, so that equal pairs happen; special ones among floats."""
    array = draw(shape, dtype, seed, 0 if dtype == "uint8" else -3, 4)
    return with_specials(np.round(array), seed) if dtype.startswith("float") else array


COMPARISONS = ("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal")
NUMPY_NAMES = {"less_than": "less", "greater_than": "greater"}


@pytest.mark.parametrize("name", [*COMPARISONS, "logical_and", "logical_or", "logical_xor"])
@FEW
@given(shapes=PAIRS, seed=SEEDS, dtype=st.sampled_from(ALL))
def test_truth_of_two(call: Call, name: str, shapes: Any, seed: int, dtype: str) -> None:
    if name.startswith("logical") and dtype == "uint8":
        dtype = "bool"  # Paddle has no logical kernel for uint8
    x, y = drawn(shapes.input_shapes[0], dtype, seed), drawn(shapes.input_shapes[1], dtype, seed + 1)
    (got,) = call(name, dtype, [x, y], [], [(shapes.result_shape, "bool")])
    assert_exact(got, np.asarray(getattr(np, NUMPY_NAMES.get(name, name))(x, y)))


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "logical_not"])
@FEW
@given(shape=SHAPES, seed=SEEDS, dtype=st.sampled_from(["float32", "float64", "int32", "int64"]))
def test_truth_of_one(call: Call, name: str, shape: tuple[int, ...], seed: int, dtype: str) -> None:
    x = drawn(shape, dtype, seed)
    (got,) = call(name, dtype, [x], [], [(shape, "bool")])
    assert_exact(got, np.asarray(getattr(np, name)(x)))


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
@FEW
@given(shapes=PAIRS, seed=SEEDS, dtype=st.sampled_from([*INTEGERS, "bool"]))
def test_bits(call: Call, name: str, shapes: Any, seed: int, dtype: str) -> None:
    x, y = (draw(s, dtype, seed + i, 0, 127) for i, s in enumerate(shapes.input_shapes))
    (got,) = call(name, dtype, [x, y], [], [(shapes.result_shape, dtype)])
    assert_exact(got, np.asarray(getattr(np, name)(x, y)))
    (got,) = call("bitwise_not", dtype, [x], [], [(x.shape, dtype)])
    assert_exact(got, np.asarray(np.bitwise_not(x)))


@pytest.mark.parametrize("source", ALL)
@FEW
@given(shape=SHAPES, seed=SEEDS, target=st.sampled_from(ALL))
def test_cast(call: Call, source: str, shape: tuple[int, ...], seed: int, target: str) -> None:
    x = draw(shape, source, seed, 0 if "uint8" in (source, target) else -100, 100)
    (got,) = call("cast", source, [x], [target], [(shape, target)])
    assert_exact(got, x.astype(target))


def test_cast_of_special_values(call: Call) -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.5, 0.0, 3e9, 1e300])
    (got,) = call("cast", "float64", [x], ["bool"], [(x.shape, "bool")])
    assert got.tolist() == [True, True, True, True, False, True, True]
    (got,) = call("cast", "float64", [x], ["float32"], [(x.shape, "float32")])
    assert_exact(got, np.array([np.nan, np.inf, -np.inf, -0.5, 0.0, 3e9, np.inf], "float32"))
    low = np.iinfo("int32").min
    (got,) = call("cast", "float64", [x], ["int32"], [(x.shape, "int32")])
    assert got.tolist() == [low, low, low, 0, 0, low, low]
    (got,) = call("cast", "float64", [x[[0, 5]]], ["int64"], [((2,), "int64")])
    assert got.tolist() == [np.iinfo("int64").min, 3_000_000_000]


def test_cast_to_an_unknown_dtype_is_refused(call: Call) -> None:
    with pytest.raises(ValueError, match=r"kernel cast .*uint16"):
        call("cast", "float32", [np.ones(2, "float32")], ["uint16"], [((2,), "uint16")])


def test_cast_to_every_half_number_and_between(call: Call) -> None:
    """All float16 numbers, the middles between neighbours (ties go to even) and what lies just beside them."""
    every = np.arange(0x7C01, dtype=np.uint16).view(np.float16).astype(np.float32)
    every[-1] = 65536.0  # where infinity stands for rounding
    middles = (every[1:] + every[:-1]) / 2
    beside = [np.nextafter(middles, np.float32(0)), np.nextafter(middles, np.float32(np.inf))]
    positive = np.concatenate([every, middles, *beside])
    special = np.array([np.nan, np.inf, -np.inf, 1e30, -1e-30], np.float32)
    x = np.concatenate([positive, -positive, special])
    (got,) = call("cast", "float32", [x], ["float16"], [(x.shape, "float16")])
    with np.errstate(over="ignore"):
        assert_exact(got, x.astype(np.float16))


def test_cast_from_double_to_half_goes_through_float(call: Call) -> None:
    """Paddle's half types convert every type through float, so just beside a tie the tie decides."""
    tie = 1 + 2.0**-11
    x = np.array([tie, np.nextafter(tie, 2), tie + 2.0**-23, np.nextafter(-tie, 0)])
    (got,) = call("cast", "float64", [x], ["float16"], [(x.shape, "float16")])
    assert got.tolist() == [1, 1, 1 + 2.0**-10, -1]


def test_cast_to_bfloat16_rounds_to_nearest_even(call: Call) -> None:
    """Every bfloat16 number and its neighbourhood, from float32: ml_dtypes rounds that only once."""
    high = np.arange(0x7F81, dtype=np.uint32) << 16
    bits = np.concatenate([high + low for low in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)]).astype(np.uint32)
    x = np.concatenate([bits, bits | np.uint32(0x80000000)]).view(np.float32)
    (got,) = call("cast", "float32", [x], ["bfloat16"], [(x.shape, "bfloat16")])
    with np.errstate(invalid="ignore"):  # NaN is converted too
        assert_exact(got.astype(np.float32), x.astype(ml_dtypes.bfloat16).astype(np.float32))


@FEW
@given(shape=SHAPES, seed=SEEDS, dtype=st.sampled_from(ALL))
def test_assign(call: Call, shape: tuple[int, ...], seed: int, dtype: str) -> None:
    x = drawn(shape, dtype, seed)
    for name in ("assign", "assign_raw", "share_data"):
        assert_exact(call(name, dtype, [x], [], [(shape, dtype)])[0], x)


@FEW
@given(shape=SHAPES, dtype=st.sampled_from(["float32", "float64", "int32", "int64"]))
def test_fill_writes_over_its_input(call: Call, shape: tuple[int, ...], dtype: str) -> None:
    x = np.zeros(shape, dtype)
    call("fill", dtype, [x], [7], [x])
    assert_exact(x, np.full(shape, 7, dtype))
    (grad,) = call("fill_grad", dtype, [x], [7], [(shape, dtype)])
    assert_exact(grad, np.zeros(shape, dtype))


def test_fill_with_nan_is_refused(call: Call) -> None:
    with pytest.raises(ValueError, match="NaN"):
        call("fill", "float32", [np.zeros(2, "float32")], [np.nan], [((2,), "float32")])


@FEW
@given(shape=SHAPES, seed=SEEDS, dtype=st.sampled_from(["float32", "float64", "int32", "int64"]))
def test_where(call: Call, shape: tuple[int, ...], seed: int, dtype: str) -> None:
    c = draw(shape, "bool", seed, 0, 1)
    x, y, g = (drawn(shape, dtype, seed + i) for i in range(3))
    assert_exact(call("where", dtype, [c, x, y], [], [(shape, dtype)])[0], np.where(c, x, y))
    x_grad, y_grad = call("where_grad", dtype, [c, x, y, g], [], [(shape, dtype)] * 2)
    zero = np.zeros_like(g)
    assert_exact(x_grad, np.where(c, g, zero))
    assert_exact(y_grad, np.where(c, zero, g))


def test_where_of_unequal_shapes_is_refused(call: Call) -> None:
    with pytest.raises(ValueError, match=r"kernel where .*\[3\], \[3\], \[1\]"):
        call("where", "float64", [np.ones(3, bool), np.ones(3), np.ones(1)], [], [((3,), "float64")])


@FEW
@given(shapes=TRIPLES, seed=SEEDS, dtype=st.sampled_from(["float32", "float64", "int32", "int64"]))
def test_masked_fill(call: Call, shapes: Any, seed: int, dtype: str) -> None:
    x, value = (drawn(shapes.input_shapes[i], dtype, seed + i) for i in (0, 2))
    mask = draw(shapes.input_shapes[1], "bool", seed, 0, 1)
    (got,) = call("masked_fill", dtype, [x, mask, value], [], [(shapes.result_shape, dtype)])
    assert_exact(got, np.broadcast_to(np.where(mask, value, x), shapes.result_shape))


@FEW
@given(shapes=TRIPLES, seed=SEEDS, dtype=st.sampled_from(["float32", "float64"]))
def test_masked_fill_gradient(call: Call, shapes: Any, seed: int, dtype: str) -> None:
    x, value, g = (
        draw(s, dtype, seed + i, -2, 2)
        for i, s in enumerate([shapes.input_shapes[0], shapes.input_shapes[2], shapes.result_shape])
    )
    mask = draw(shapes.input_shapes[1], "bool", seed, 0, 1)
    grads = call("masked_fill_grad", dtype, [x, mask, value, g], [], [(x.shape, dtype), (value.shape, dtype)])
    wide = g.astype(np.longdouble)
    for grad, terms, operand in zip(grads, (np.where(mask, 0, wide), np.where(mask, wide, 0)), (x, value), strict=True):
        size = sum_to_shape(np.abs(terms), operand.shape)
        assert_within_ulps(grad, sum_to_shape(terms, operand.shape), 2, size)
