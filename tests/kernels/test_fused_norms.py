"""Fused normalisations, and parameters whose dtype is not that of the rows, against their definitions in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from finite_differences import numeric_gradient
from kernel_checks import Array

Call = Callable[..., list[Any]]

HALVES = ("float16", "bfloat16")
SINGLE = 2.0**-24
ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": SINGLE}
EPSILON = 1e-5


def stored(array: Array, dtype: str) -> Array:
    return array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def drawn(shape: tuple[int, ...], dtype: str, seed: int, low: float = -2, high: float = 2) -> Array:
    return stored(np.asarray(np.random.default_rng(seed).uniform(low, high, shape)), dtype)


def wide(array: Array) -> Array:
    return array.astype(np.float64)


def close(got: Array, wanted: Array, dtype: str, size: Array | float = 1.0, steps: float = 16) -> None:
    """``steps`` roundings of single precision, relative to ``size``, and one of the output's dtype."""
    assert got.shape == wanted.shape
    limit = np.abs(wanted) * ROUNDING[dtype] + steps * SINGLE * (np.abs(wanted) + size) + 1e-300
    np.testing.assert_array_less(np.abs(wide(got) - wanted), limit)


def layer_norm(x: Array, scale: Array, bias: Array, epsilon: float = EPSILON) -> Array:
    apart = x - x.mean(-1, keepdims=True)
    return apart / np.sqrt(np.square(apart).mean(-1, keepdims=True) + epsilon) * scale + bias


def rms_norm(x: Array, scale: Array, epsilon: float = EPSILON) -> Array:
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + epsilon) * scale


@pytest.mark.parametrize("parameter", ["float32", "same"])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(5, 7), (40, 1000), (1, 3), (0, 4)])
def test_layer_norm_of_halves(call: Call, dtype: str, parameter: str, shape: tuple[int, int]) -> None:
    own = dtype if parameter == "same" else parameter
    rows, width = shape
    x, g = drawn(shape, dtype, 1), drawn(shape, dtype, 2)
    scale, bias = drawn((width,), own, 3, 0.5, 2), drawn((width,), own, 4)
    statistics = [((rows,), "float32"), ((rows,), "float32")]
    out, mean, variance = call("layer_norm", dtype, [x, scale, bias], [EPSILON, 1], [(shape, dtype), *statistics])
    close(out, layer_norm(wide(x), wide(scale), wide(bias)), dtype, 8)
    close(mean, wide(x).mean(-1), "float32", 4)
    close(variance, wide(x).var(-1), "float32", 8)
    inputs = [x, scale, bias, mean, variance, g]
    wanted = [(shape, dtype), ((width,), own), ((width,), own)]
    dx, dscale, dbias = call("layer_norm_grad", dtype, inputs, [EPSILON, 1], wanted)
    assert dscale.dtype == dbias.dtype == scale.dtype
    factor = 1 / np.sqrt(wide(x).var(-1, keepdims=True) + EPSILON)
    normal = (wide(x) - wide(x).mean(-1, keepdims=True)) * factor
    flow = wide(g) * wide(scale)
    exact = factor * (flow - flow.mean(-1, keepdims=True) - normal * (flow * normal).mean(-1, keepdims=True))
    close(dx, exact, dtype, 64)
    close(dscale, (wide(g) * normal).sum(0), own, 8 * rows)
    close(dbias, wide(g).sum(0), own, 4 * rows)


@pytest.mark.parametrize("dtype", HALVES)
def test_rms_norm_of_halves_with_a_float_scale(call: Call, dtype: str) -> None:
    x, g, scale = drawn((6, 50), dtype, 1), drawn((6, 50), dtype, 2), drawn((50,), "float32", 3)
    out, inverse = call("rms_norm", dtype, [x, scale], [[50], EPSILON], [((6, 50), dtype), ((6,), "float32")])
    close(out, rms_norm(wide(x), wide(scale)), dtype, 4)
    outputs = [((6, 50), dtype), ((50,), "float32")]
    dx, dscale = call("rms_norm_grad", dtype, [x, scale, inverse, g], [[50], EPSILON], outputs)
    factor = 1 / np.sqrt(np.square(wide(x)).mean(-1, keepdims=True) + EPSILON)
    flow, normal = wide(g) * wide(scale), wide(x) * factor
    close(dx, factor * (flow - normal * (flow * normal).mean(-1, keepdims=True)), dtype, 32)
    close(dscale, (wide(g) * normal).sum(0), "float32", 32)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", [*HALVES, "float64"])
@pytest.mark.parametrize("places", [(2, 3), (1, 1), (40, 50)])
def test_group_norm_with_parameters_of_another_dtype(
    call: Call, dtype: str, layout: str, places: tuple[int, int]
) -> None:
    channels, groups, own = 6, 3, "float32" if dtype in HALVES else "float64"
    first = (2, channels, *places)
    x, g = drawn(first, dtype, 1), drawn(first, dtype, 2)
    scale, bias = drawn((channels,), own, 3, 0.5, 2), drawn((channels,), own, 4)

    def definition(values: Array, w: Array, b: Array) -> Array:
        grouped = values.reshape(2, groups, -1)
        apart = grouped - grouped.mean(-1, keepdims=True)
        normal = apart / np.sqrt(np.square(apart).mean(-1, keepdims=True) + EPSILON)
        return normal.reshape(values.shape) * w.reshape(-1, 1, 1) + b.reshape(-1, 1, 1)

    def moved(values: Array) -> Array:
        return np.ascontiguousarray(np.moveaxis(values, 1, -1)) if layout == "NHWC" else values

    def back(values: Array) -> Array:
        return np.moveaxis(values, -1, 1) if layout == "NHWC" else values

    shape = moved(x).shape
    statistic = ((2, groups), "float32" if dtype in HALVES else "float64")
    attributes = [EPSILON, groups, layout]
    inputs = [moved(x), scale, bias]
    out, mean, variance = call("group_norm", dtype, inputs, attributes, [(shape, dtype), statistic, statistic])
    steps = 16 if dtype in HALVES else 1e-4
    result = "float16" if dtype == "float64" else dtype
    if dtype == "float64":
        np.testing.assert_allclose(back(out), definition(x, scale, bias), rtol=1e-11, atol=1e-11)
    else:
        close(back(out), definition(wide(x), wide(scale), wide(bias)), dtype, 8, steps)
    outputs = [(shape, dtype), ((channels,), own), ((channels,), own)]
    inputs = [moved(x), scale, bias, out, mean, variance, moved(g)]
    dx, dscale, dbias = call("group_norm_grad", dtype, inputs, attributes, outputs)
    grouped = wide(x).reshape(2, groups, -1)
    factor = 1 / np.sqrt(grouped.var(-1, keepdims=True) + EPSILON)
    normal = ((grouped - grouped.mean(-1, keepdims=True)) * factor).reshape(first)
    flow = (wide(g) * wide(scale).reshape(-1, 1, 1)).reshape(2, groups, -1)
    own_normal = normal.reshape(2, groups, -1)
    inner = flow - flow.mean(-1, keepdims=True) - own_normal * (flow * own_normal).mean(-1, keepdims=True)
    count = 2 * places[0] * places[1]
    if dtype == "float64":
        np.testing.assert_allclose(back(dx), (factor * inner).reshape(first), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(dscale, (wide(g) * normal).sum((0, 2, 3)), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(dbias, wide(g).sum((0, 2, 3)), rtol=1e-9, atol=1e-9)
        return
    size = 1024 if places == (1, 1) else 64  # two values a group: the difference of nearly equal numbers
    close(back(dx), (factor * inner).reshape(first), result, size)
    close(dscale, (wide(g) * normal).sum((0, 2, 3)), own, 8 * count)
    close(dbias, wide(g).sum((0, 2, 3)), own, 4 * count)


@pytest.mark.parametrize("name", ["fused_rms_norm_ext", "fast_rms_norm"])
@pytest.mark.parametrize("dtype", ["float32", *HALVES])
def test_rms_norm_of_the_last_axis(call: Call, name: str, dtype: str) -> None:
    shape, rows = (3, 4, 33), 12
    x, g, scale = drawn(shape, dtype, 1), drawn(shape, dtype, 2), drawn((33,), dtype, 3)
    out, inverse = call(name, dtype, [x, scale], [EPSILON], [(shape, dtype), ((rows,), "float32")])
    close(out, rms_norm(wide(x), wide(scale)), dtype, 4)
    dx, dscale = call(f"{name}_grad", dtype, [x, scale, inverse, g], [EPSILON], [(shape, dtype), ((33,), dtype)])
    factor = 1 / np.sqrt(np.square(wide(x)).mean(-1, keepdims=True) + EPSILON)
    flow, normal = wide(g) * wide(scale), wide(x) * factor
    close(dx, factor * (flow - normal * (flow * normal).mean(-1, keepdims=True)), dtype, 32)
    close(dscale, (wide(g) * normal).sum((0, 1)), dtype, 64)


def test_rms_norm_ext_gradient_by_differences(call: Call) -> None:
    x, g, scale = drawn((3, 5), "float64", 1, 0.5), drawn((3, 5), "float64", 2), drawn((5,), "float64", 3)
    outputs = [((3, 5), "float64"), ((3,), "float64")]
    _, inverse = call("fused_rms_norm_ext", "float64", [x, scale], [EPSILON], outputs)
    epsilon = np.longdouble(np.float32(EPSILON))
    outputs = [((3, 5), "float64"), ((5,), "float64")]
    dx, dscale = call("fused_rms_norm_ext_grad", "float64", [x, scale, inverse, g], [EPSILON], outputs)
    np.testing.assert_allclose(dx, numeric_gradient(lambda v: rms_norm(v, scale, epsilon), x, g).astype(float), 1e-7)
    np.testing.assert_allclose(
        dscale, numeric_gradient(lambda v: rms_norm(x.astype(np.longdouble), v, epsilon), scale, g).astype(float), 1e-7
    )


def quantised(values: Array, scale: float, rounding: int, top: float, bottom: float) -> Array:
    wanted = top * scale * values
    rounded = np.rint(wanted) if rounding == 0 else np.sign(wanted) * np.floor(np.abs(wanted) + 0.5)
    return np.clip(rounded, bottom, top)


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("rounding", [None, 0, 1])
@pytest.mark.parametrize("name", ["fused_rms_norm_quant", "fused_bias_residual_layernorm"])
def test_norm_of_a_sum_with_quantised_output(
    call: Call, name: str, dtype: str, with_residual: bool, rounding: int | None
) -> None:
    shape, width = (3, 4, 20), 20
    centred = name == "fused_bias_residual_layernorm"
    parameter = "float32" if centred else dtype
    x, residual, bias = drawn(shape, dtype, 1), drawn(shape, dtype, 2), drawn((width,), dtype, 3)
    scale, shift = drawn((width,), parameter, 4, 0.5, 2), drawn((width,), parameter, 5)
    quant = [-1.0, 0, 0.0, 0.0] if rounding is None else [0.2, rounding, 127.0, -127.0]
    attributes = [EPSILON, 0.5, 2, *quant] if centred else [EPSILON, 2, *quant]
    alpha = 0.5 if centred else 1.0
    total = wide(x) + (wide(bias) + alpha * wide(residual) if with_residual else 0)
    normal = layer_norm(total, wide(scale), wide(shift)) if centred else rms_norm(total, wide(scale)) + wide(shift)
    statistics = [((12,), "float32")] * (2 if centred else 1)
    outputs = [(shape, "int8" if rounding is not None else dtype), (shape, dtype), *statistics]
    inputs = [x, bias, residual if with_residual else None, scale, shift]
    out, kept, *own = call(name, dtype, inputs, attributes, outputs)
    if rounding is None:
        close(out, normal, dtype, 8)
    else:
        assert out.dtype == np.int8
        sure = np.abs(np.modf(127 * np.float64(np.float32(0.2)) * normal)[0] % 1 - 0.5) > 1e-3  # no tie nearby
        wanted = quantised(normal, np.float64(np.float32(0.2)), rounding, 127, -127)
        np.testing.assert_array_equal(out[sure], wanted[sure])
        assert sure.mean() > 0.9
        assert np.abs(out.astype(int) - wanted).max() <= 1
    if with_residual:
        close(kept, total, dtype, 4)
    else:
        assert kept.size == 0
    if centred:
        close(own[0], total.mean(-1).reshape(-1), "float32", 4)
        close(own[1], total.var(-1).reshape(-1), "float32", 16)
    else:
        close(own[0], 1 / np.sqrt(np.square(total).mean(-1).reshape(-1) + EPSILON), "float32", 1)


def test_layernorm_without_parameters_adds_only(call: Call) -> None:
    x, residual, bias = (drawn(shape, "float32", i) for i, shape in enumerate([(3, 8), (3, 8), (8,)]))
    outputs = [((3, 8), "float32"), ((3, 8), "float32"), ((3,), "float32"), ((3,), "float32")]
    attributes = [EPSILON, 2.0, 1, -1.0, 0, 0.0, 0.0]
    inputs = [x, bias, residual, None, None]
    out, kept, *_ = call("fused_bias_residual_layernorm", "float32", inputs, attributes, outputs)
    close(out, wide(x) + wide(bias) + 2 * wide(residual), "float32", 4)
    np.testing.assert_array_equal(out, kept)


def test_quantised_norm_refuses_what_it_cannot_do(call: Call) -> None:
    x, scale = np.ones((2, 4), np.float32), np.ones(4, np.float32)
    outputs = [((2, 4), "int8"), None, ((2,), "float32")]
    with pytest.raises(ValueError, match="quant_max_bound"):
        call("fused_rms_norm_quant", "float32", [x, None, None, scale, None], [1e-5, 1, 0.5, 0, 0.0, -1.0], outputs)
    with pytest.raises(ValueError, match="quant_round_type"):
        call("fused_rms_norm_quant", "float32", [x, None, None, scale, None], [1e-5, 1, 0.5, 2, 9.0, -9.0], outputs)
    with pytest.raises(ValueError, match="norm_weight"):
        call("fused_rms_norm_quant", "float32", [x, None, None, scale[:3], None], [1e-5, 1, -1.0, 0, 0.0, 0.0], outputs)


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
def test_gradient_of_the_fused_rms_norm(call: Call, dtype: str) -> None:
    shape = (40, 300)
    x, g = drawn(shape, dtype, 1), drawn(shape, dtype, 2)
    scale, shift = drawn((300,), dtype, 3, 0.5, 2), drawn((300,), dtype, 4)
    inverse = (1 / np.sqrt(np.square(wide(x)).mean(-1) + EPSILON)).astype(np.float32)
    inputs = [x, None, None, scale, shift, inverse, g]
    outputs = [(shape, dtype), ((300,), dtype), ((300,), dtype)]
    dx, dscale, dshift = call("fused_rms_norm_quant_grad", dtype, inputs, [EPSILON, 1, -1.0], outputs)
    normal = wide(x) * wide(inverse)[:, None]
    flow = wide(g) * wide(scale)
    close(dx, wide(inverse)[:, None] * (flow - normal * (flow * normal).mean(-1, keepdims=True)), dtype, 32)
    close(dscale, (wide(g) * normal).sum(0), dtype, 200)
    close(dshift, wide(g).sum(0), dtype, 100)


def test_extreme_rows_stay_apart(call: Call) -> None:
    """A row of equal numbers, one with NaN, one with infinity: the others do not notice."""
    x = np.ones((4, 8), np.float32)
    x[1, 2], x[2, 3], x[3] = np.nan, np.inf, np.arange(8)
    outputs = [((4, 8), "float32"), ((4,), "float32"), ((4,), "float32")]
    out, _, variance = call("layer_norm", "float32", [x, None, None], [EPSILON, 1], outputs)
    np.testing.assert_array_equal(out[0], np.zeros(8))
    assert variance[0] == 0
    assert np.isnan(out[1]).all()
    assert np.isnan(out[2]).all()
    close(out[3], layer_norm(wide(x[3]), np.float64(1), np.float64(0)), "float32", 4)
