"""Weights stored as small integers, and the linear layers that multiply with them, against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kernel_checks import Array

Call = Callable[..., list[Any]]

DTYPES = ("float32", "float16", "bfloat16")
ROUNDOFF = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
BOUND = {"weight_only_int8": 127, "llm.int8": 127, "weight_only_int4": 7}


def stored(array: Array, dtype: str) -> Array:
    return array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def normal(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    return stored(np.random.default_rng(seed).standard_normal(shape), dtype)


def groups_of(k: int, group: int) -> list[slice]:
    length = k if group == -1 else group
    return [slice(p, min(p + length, k)) for p in range(0, k, max(length, 1))]


def on_grid(k: int, n: int, algo: str, group: int, seed: int) -> Array:
    """Weights that quantize without error: multiples of a power of two, the largest of them in every group."""
    rng, bound = np.random.default_rng(seed), BOUND[algo]
    integers = rng.integers(-bound, bound + 1, (k, n))
    for rows in groups_of(k, group):
        integers[rows.start + rng.integers(0, rows.stop - rows.start, n), np.arange(n)] = bound
    return np.asarray(integers * 2.0 ** -(5 + np.arange(n) % 3))


def quantize(call: Call, w: Array, dtype: str, algo: str, group: int) -> tuple[Array, Array]:
    k, n = w.shape
    numbers = ((n // 2 if "int4" in algo else n, k), "int8")
    scale = ((n,) if group == -1 else (-(-k // group), n), "float32" if algo == "llm.int8" else dtype)
    q, s = call("weight_quantize", dtype, [stored(w, dtype)], [algo, 80, group], [numbers, scale])
    return q, s


def dequantize(call: Call, q: Array, s: Array, dtype: str, algo: str, group: int) -> Array:
    shape = (q.shape[1], q.shape[0] * (2 if "int4" in algo else 1))
    (w,) = call("weight_dequantize", dtype, [q, s], [algo, group], [(shape, dtype)])
    return np.asarray(w)


@pytest.mark.parametrize("group", [-1, 64, 128])
@pytest.mark.parametrize("algo", list(BOUND))
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_on_the_grid_come_back(call: Call, dtype: str, algo: str, group: int) -> None:
    for k, n in ((256, 96), (130, 6), (1, 2)):
        w = on_grid(k, n, algo, group, seed=k)
        q, s = quantize(call, w, dtype, algo, group)
        np.testing.assert_array_equal(dequantize(call, q, s, dtype, algo, group).astype(float), w)


@pytest.mark.parametrize("group", [-1, 64])
@pytest.mark.parametrize("algo", list(BOUND))
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_weight_is_off_by_half_a_step_at_most(call: Call, dtype: str, algo: str, group: int) -> None:
    w = normal((200, 70), dtype, 3)
    q, s = quantize(call, w, dtype, algo, group)
    wide, got = w.astype(float), dequantize(call, q, s, dtype, algo, group).astype(float)
    for g, rows in enumerate(groups_of(200, group)):
        peak = np.abs(wide[rows]).max(axis=0)
        scale = s.astype(float).reshape(-1, 70)[g]
        np.testing.assert_allclose(scale, peak / BOUND[algo], rtol=2 * ROUNDOFF[s.dtype.name])
        # half a step, and two roundings: of the scale, and of the result
        limit = peak / BOUND[algo] * (0.5 + 1e-5) + 2 * ROUNDOFF[dtype] * peak
        assert (np.abs(got[rows] - wide[rows]) <= limit).all()


def test_the_integers_lie_channel_after_channel(call: Call) -> None:
    w = np.array([[127.0, 7.0, -1.0, 2.0], [3.0, -127.0, 127.0, -127.0]])
    q, s = quantize(call, w, "float32", "weight_only_int8", -1)
    np.testing.assert_array_equal(q, w.T.astype("int8"))
    np.testing.assert_array_equal(s, np.ones(4))
    w = np.array([[7.0, -7.0], [-3.0, 5.0]])
    q, s = quantize(call, w, "float32", "weight_only_int4", -1)
    np.testing.assert_array_equal(q.view("uint8"), [[7 | 9 << 4, 13 | 5 << 4]])


def test_halves_round_away_from_zero(call: Call) -> None:
    w = np.array([[127.0, 127.0], [2.5, -2.5], [0.5, -0.5], [0.49, -1.5]])
    q, _ = quantize(call, w, "float32", "weight_only_int8", -1)
    np.testing.assert_array_equal(q, [[127, 3, 1, 0], [127, -3, -1, -2]])


def test_groups_of_zeros_and_of_no_numbers(call: Call) -> None:
    w = np.zeros((64, 4))
    w[:, 2] = np.nan
    w[3, 3] = np.inf
    q, s = quantize(call, w, "float32", "weight_only_int8", -1)
    got = dequantize(call, q, s, "float32", "weight_only_int8", -1)
    assert (got[:, :2] == 0).all()
    assert np.isnan(got[:, 2]).all()
    assert not np.isfinite(got[3, 3])


@pytest.mark.parametrize(("k", "n"), [(0, 4), (4, 0)])
def test_weights_without_elements(call: Call, k: int, n: int) -> None:
    q, s = quantize(call, np.empty((k, n)), "float32", "weight_only_int8", -1)
    assert (q.shape, s.shape) == ((n, k), (n,))
    assert dequantize(call, q, s, "float32", "weight_only_int8", -1).shape == (k, n)
    (got,) = call(
        "weight_only_linear", "float32", [np.ones((3, k), "float32"), q, np.ones(n, "float32"), s],
        ["int8", 80, -1], [((3, n), "float32")],
    )  # fmt: skip
    np.testing.assert_array_equal(got, np.ones((3, n)))


def test_what_does_not_fit_is_refused(call: Call) -> None:
    w = on_grid(64, 4, "weight_only_int8", -1, 1)
    for algo, group, message in [("int8", -1, "algo has to be"), ("weight_only_int8", 32, "group_size has to be")]:
        with pytest.raises(ValueError, match=message):
            call("weight_quantize", "float32", [w.astype("float32")], [algo, 80, group], [((4, 64), "int8"), None])
    with pytest.raises(ValueError, match="pairs"):
        quantize(call, w[:, :3], "float32", "weight_only_int4", -1)
    q, s = quantize(call, w, "float32", "weight_only_int8", -1)
    for inputs, attributes, message in [
        ([np.ones((2, 63), "float32"), q, None, s], ["int8", 80, -1], "64 numbers a channel meets x"),
        ([np.ones((2, 64), "float32"), q, np.ones(3, "float32"), s], ["int8", 80, -1], "bias"),
        ([np.ones((2, 64), "float32"), q, None, s[:2]], ["int8", 80, -1], "has 4 scales"),
        ([np.ones((2, 64), "float32"), q, None, s], ["int7", 80, -1], "weight_dtype has to be"),
    ]:
        with pytest.raises(ValueError, match=message):
            call("weight_only_linear", "float32", inputs, attributes, [((2, 4), "float32")])


@pytest.mark.parametrize("group", [-1, 64, 128])
@pytest.mark.parametrize("algo", ["weight_only_int8", "weight_only_int4"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weight_only_linear(call: Call, dtype: str, algo: str, group: int) -> None:
    """The scales are powers of two, so that only float32 sums and the rounding of the result are left."""
    layers = (
        ((2, 3), 640, 300, True),
        ((1,), 1000, 258, False),
        ((2,), 100, 10, True),
        ((3,), 1000, 4, False),
        ((4,), 200, 6, True),
        ((1500,), 64, 4, True),
    )
    for lead, k, n, with_bias in layers:
        w, x = on_grid(k, n, algo, group, k), normal((*lead, k), dtype, n)
        q, s = quantize(call, w, dtype, algo, group)
        bias = normal((n,), dtype, 5) if with_bias else None
        (got,) = call(
            "weight_only_linear", dtype, [x, q, bias, s], [algo[-4:], 80, group], [((*lead, n), dtype)]
        )  # fmt: skip
        wide = x.astype(float)
        wanted = wide @ w + (0 if bias is None else bias.astype(float))
        limit = 2.0**-24 * k * (np.abs(wide) @ np.abs(w) + 1) + ROUNDOFF[dtype] * np.abs(wanted)
        assert (np.abs(got.astype(float) - wanted) <= limit).all()


@pytest.mark.parametrize("group", [-1, 64])
@pytest.mark.parametrize("algo", ["weight_only_int8", "weight_only_int4"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weight_only_linear_gradient(call: Call, dtype: str, algo: str, group: int) -> None:
    for lead, k, n in (((2, 3), 640, 300), ((1,), 200, 258), ((1100,), 64, 4)):
        w, g = on_grid(k, n, algo, group, k), normal((*lead, n), dtype, n)
        q, s = quantize(call, w, dtype, algo, group)
        x = np.zeros((*lead, k), g.dtype)
        (got,) = call(
            "weight_only_linear_grad", dtype, [x, q, None, s, g], [algo[-4:], 80, group], [(x.shape, dtype)]
        )  # fmt: skip
        wide = g.astype(float)
        wanted = wide @ w.T
        limit = 2.0**-24 * n * (np.abs(wide) @ np.abs(w.T) + 1) + ROUNDOFF[dtype] * np.abs(wanted)
        assert (np.abs(got.astype(float) - wanted) <= limit).all()


def llm_int8(x: Array, w: Array, threshold: float) -> tuple[Array, Array]:
    """By the paper: int8 rows but for the features with an outlier; and how far a rounding at a half may reach."""
    outlier = (np.abs(x) > threshold).any(axis=0)
    ranges = np.where(np.abs(x) > threshold, 0, np.abs(x)).max(axis=1, keepdims=True)
    unit = np.where(ranges > 0, ranges, 1) / 127
    scaled = x / unit
    numbers = np.where(outlier, 0, np.clip(np.sign(scaled) * np.floor(np.abs(scaled) + 0.5), -127, 127))
    near_half = ~outlier & (np.abs(np.abs(scaled) % 1 - 0.5) < 1e-3)
    return (x * outlier) @ w + (numbers * unit) @ w, (near_half * unit) @ np.abs(w)


@pytest.mark.parametrize("threshold", [0.0, 1.5, 6.0, 100.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_llm_int8_linear(call: Call, dtype: str, threshold: float) -> None:
    k, n = 192, 80
    w, x = on_grid(k, n, "llm.int8", -1, 2), normal((5, 7, k), dtype, 4)
    x[2, 3, ::50] *= 20
    q, s = quantize(call, w, dtype, "llm.int8", -1)
    assert s.dtype == np.float32
    for bias in (None, normal((n,), dtype, 6)):
        (got,) = call("llm_int8_linear", dtype, [x, q, bias, s], [threshold], [((5, 7, n), dtype)])
        wide = x.astype(float).reshape(-1, k)
        wanted, loose = llm_int8(wide, w, float(np.asarray(threshold).astype(x.dtype)))
        wanted = wanted + (0 if bias is None else bias.astype(float))
        limit = 1e-5 * (np.abs(wide) @ np.abs(w) + 1) + 2 * ROUNDOFF[dtype] * np.abs(wanted) + loose
        assert (np.abs(got.astype(float).reshape(-1, n) - wanted) <= limit).all()


def test_llm_int8_linear_of_zeros_and_of_a_nan(call: Call) -> None:
    w = on_grid(16, 4, "llm.int8", -1, 2)
    q, s = quantize(call, w, "float32", "llm.int8", -1)
    x = np.zeros((3, 16), "float32")
    x[2, 5] = np.nan
    (got,) = call("llm_int8_linear", "float32", [x, q, None, s], [6.0], [((3, 4), "float32")])
    assert (got[:2] == 0).all()
    assert np.isnan(got[2]).all()


@pytest.mark.parametrize("transposes", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("m", "k", "n"), [(5, 300, 7), (1, 1, 1), (3, 0, 2), (0, 4, 3), (64, 128, 200)])
def test_int8_products_are_exact(call: Call, m: int, k: int, n: int, transposes: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(k)
    x, y = (rng.integers(-128, 128, shape).astype("int8") for shape in ((2, m, k), (k, n)))
    wanted = np.matmul(x.astype("int32"), y.astype("int32"))
    operands = [np.swapaxes(a, -1, -2) if turn else a for a, turn in zip((x, y), transposes, strict=True)]
    (got,) = call("matmul", "int8", operands, list(transposes), [((2, m, n), "int32")])
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, wanted)
