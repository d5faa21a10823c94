"""softmax(x + mask), softmax of the lower triangle, and dropout(x) + y, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kernel_checks import Array

Call = Callable[..., list[Any]]

ROUNDING = {"float64": 2.0**-50, "float32": 2.0**-21, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def drawn(shape: tuple[int, ...], dtype: str, seed: int, low: float = -4, high: float = 4) -> Array:
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def softmax(x: Array) -> Array:
    with np.errstate(invalid="ignore"):
        power = np.exp(x - x.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def close(got: Array, exact: Array, dtype: str) -> None:
    assert got.shape == exact.shape
    wide, numbers = got.astype(float), ~np.isnan(exact)
    np.testing.assert_array_equal(np.isnan(wide), np.isnan(exact))
    tiny = 2.0**-24 if dtype == "float16" else 1e-30
    limit = np.abs(exact) * ROUNDING[dtype] + 2.0**-21 * np.abs(exact) + tiny
    np.testing.assert_array_less(np.abs(wide - exact)[numbers], limit[numbers])


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("mask_shape", [(2, 1, 4, 37), (2, 3, 4, 37), (1, 1, 4, 37)])
def test_masked(call: Call, dtype: str, mask_shape: tuple[int, ...]) -> None:
    x, mask = drawn((2, 3, 4, 37), dtype, 1), drawn(mask_shape, dtype, 2)
    mask[..., 1, 5:9], mask[..., 2, :] = -np.inf, -np.inf
    (got,) = call("fused_softmax_mask", dtype, [x, mask], [], [(x.shape, dtype)])
    close(got, softmax(x.astype(float) + mask.astype(float)), dtype)
    assert np.isnan(got[:, :, 2].astype(float)).all()  # nothing is left of such a row
    assert (got[:, :, 1, 5:9] == 0).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_float_mask_is_added_before_rounding(call: Call, dtype: str) -> None:
    x, mask = drawn((1, 2, 3, 50), dtype, 1), drawn((1, 1, 3, 50), "float32", 2)
    (got,) = call("fused_softmax_mask", dtype, [x, mask], [], [(x.shape, dtype)])
    close(got, softmax(x.astype(float) + mask.astype(float)), dtype)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("length", [1, 5, 64])
def test_lower_triangle(call: Call, dtype: str, length: int) -> None:
    x = drawn((2, 2, length, length), dtype, 1)
    x[..., 0, 1:] = np.nan  # above the diagonal nothing counts
    (got,) = call("fused_softmax_mask_upper_triangle", dtype, [x], [], [(x.shape, dtype)])
    seen = np.tril(np.ones((length, length), bool))
    close(got, softmax(np.where(seen, x.astype(float), -np.inf)), dtype)
    assert (got[..., ~seen] == 0).all()


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("name", ["fused_softmax_mask_grad", "fused_softmax_mask_upper_triangle_grad"])
def test_gradients(call: Call, name: str, dtype: str) -> None:
    out = softmax(np.where(np.tril(np.ones((9, 9), bool)), drawn((2, 2, 9, 9), "float64", 1), -np.inf))
    y, g = out.astype(drawn((1,), dtype, 0).dtype), drawn((2, 2, 9, 9), dtype, 2)
    (got,) = call(name, dtype, [y, g], [], [(y.shape, dtype)])
    p, d = y.astype(float), g.astype(float)
    exact = p * (d - (p * d).sum(-1, keepdims=True))
    limit = np.abs(exact) * ROUNDING[dtype] + 2.0**-20 * p + 2.0**-24
    np.testing.assert_array_less(np.abs(got.astype(float) - exact), limit)
    np.testing.assert_array_equal(got.astype(float)[p == 0], 0)


def test_shapes_that_do_not_fit(call: Call) -> None:
    x = np.ones((2, 3, 4, 5), np.float32)
    for shape in ((2, 1, 4, 4), (3, 1, 4, 5), (2, 2, 4, 5)):
        with pytest.raises(ValueError, match="mask of shape"):
            call("fused_softmax_mask", "float32", [x, np.ones(shape, np.float32)], [], [(x.shape, "float32")])
    with pytest.raises(ValueError, match="length, length"):
        call("fused_softmax_mask_upper_triangle", "float32", [x], [], [(x.shape, "float32")])
    empty = np.ones((0, 3, 4, 5), np.float32)
    (got,) = call("fused_softmax_mask", "float32", [empty, empty], [], [(empty.shape, "float32")])
    assert got.shape == empty.shape


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("mode", ["upscale_in_train", "downscale_in_infer"])
@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_dropout_add(call: Call, dtype: str, mode: str, p: float) -> None:
    x, y, g = drawn((300, 101), dtype, 1, 0.5, 4), drawn((300, 101), dtype, 2), drawn((300, 101), dtype, 3, 0.5, 4)
    outputs = [(x.shape, dtype), ((2,), "int64")]
    out, source = call("fused_dropout_add", dtype, [x, y, None], [p, False, mode, 5, True], outputs)
    again, _ = call("fused_dropout_add", dtype, [x, y, None], [p, False, mode, 5, True], outputs)
    np.testing.assert_array_equal(out.astype(float), again.astype(float))
    dx, dy = call("fused_dropout_add_grad", dtype, [source, g], [p, False, mode, True], [(x.shape, dtype)] * 2)
    np.testing.assert_array_equal(dy.astype(float), g.astype(float))
    kept = dx.astype(float) != 0
    assert abs(kept.mean() - (1 - p)) < 0.02
    factor = 1 / (1 - p) if mode == "upscale_in_train" and p < 1 else 1.0
    exact = np.where(kept, x.astype(float) * factor, 0) + y.astype(float)
    limit = np.abs(exact) * ROUNDING[dtype] + 2.0**-21 * (np.abs(x.astype(float)) + 4)
    np.testing.assert_array_less(np.abs(out.astype(float) - exact), limit)
    np.testing.assert_allclose(dx.astype(float)[kept], (g.astype(float) * factor)[kept], rtol=2 * ROUNDING[dtype])
    out, source = call("fused_dropout_add", dtype, [x, y, None], [p, True, mode, 5, True], outputs)
    tested = 1 if mode == "upscale_in_train" else 1 - p
    exact = x.astype(float) * tested + y.astype(float)
    np.testing.assert_array_less(np.abs(out.astype(float) - exact), np.abs(exact) * ROUNDING[dtype] + 2.0**-20 * 8)
    dx, _ = call("fused_dropout_add_grad", dtype, [source, g], [p, True, mode, True], [(x.shape, dtype)] * 2)
    np.testing.assert_allclose(dx.astype(float), g.astype(float) * tested, rtol=2 * ROUNDING[dtype])


def test_dropped_elements_forget_what_they_were(call: Call) -> None:
    x, y = np.full(1000, np.nan, np.float32), np.ones(1000, np.float32)
    outputs = [(x.shape, "float32"), ((2,), "int64")]
    out, _ = call("fused_dropout_add", "float32", [x, y, None], [0.5, False, "upscale_in_train", 3, True], outputs)
    assert set(np.unique(out[~np.isnan(out)])) == {1.0}
    assert 300 < np.isnan(out).sum() < 700
