"""Products with an epilogue, gathered parameter gradients, and activations between quantized layers, against NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from finite_differences import assert_gradient
from kernel_checks import Array

Call = Callable[..., list[Any]]

DTYPES = ("float64", "float32", "float16", "bfloat16")
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SUMS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-24, "bfloat16": 2.0**-24}
TRANSPOSES = [(False, False), (True, False), (False, True), (True, True)]

_erf = np.vectorize(math.erf, otypes=[float])


def normal(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    values = np.random.default_rng(seed).standard_normal(shape)
    return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def near(got: Array, wanted: Array, dtype: str, magnitude: Array | float, length: int) -> None:
    """Within a rounding to storage and the rounding errors of sums of ``length`` terms of this total ``magnitude``."""
    assert got.shape == wanted.shape
    limit = ROUNDOFF[dtype] * np.abs(wanted) + SUMS[dtype] * (length + 8) * (np.asarray(magnitude) + 1)
    worst = np.max(np.abs(got.astype(float) - wanted) / limit, initial=0.0)
    assert worst <= 1, worst


def act(z: Array, activation: str) -> Array:
    if activation == "relu":
        return np.maximum(z, 0)
    if activation == "gelu":
        return np.asarray(0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))))
    return z


def turned(a: Array, turn: bool) -> Array:
    return a.T.copy() if turn else a


@pytest.mark.parametrize("turns", TRANSPOSES)
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_gemm_epilogue(call: Call, dtype: str, activation: str, turns: tuple[bool, bool]) -> None:
    for m, k, n in ((6, 40, 128), (300, 17, 9), (1, 1, 1), (3, 0, 2), (0, 3, 2)):
        x, y, bias = normal((m, k), dtype, 1), normal((k, n), dtype, 2), normal((n,), dtype, 3)
        wide = [a.astype(float) for a in (x, y, bias)]
        z = wide[0] @ wide[1] + wide[2]
        kept = None if activation == "none" else ((m, n), "bool" if activation == "relu" else dtype)
        inputs = [turned(x, turns[0]), turned(y, turns[1]), bias]
        got, _ = call("fused_gemm_epilogue", dtype, inputs, [*turns, activation], [((m, n), dtype), kept])
        near(got, act(z, activation), dtype, np.abs(wide[0]) @ np.abs(wide[1]) + np.abs(wide[2]), k)


def test_rows_may_lie_on_several_axes(call: Call) -> None:
    x, y, bias = normal((2, 3, 5), "float64", 1), normal((5, 4), "float64", 2), normal((4,), "float64", 3)
    outputs = [((2, 3, 4), "float64"), None]
    got, _ = call("fused_gemm_epilogue", "float64", [x, y, bias], [False, False, "none"], outputs)
    np.testing.assert_allclose(got, x @ y + bias, rtol=1e-13, atol=1e-13)
    with pytest.raises(ValueError, match="two axes or more"):
        call("fused_gemm_epilogue", "float64", [x, y, bias], [True, False, "none"], outputs)
    with pytest.raises(ValueError, match="'none', 'relu' and 'gelu'"):
        call("fused_gemm_epilogue", "float64", [x, y, bias], [False, False, "silu"], outputs)


@pytest.mark.parametrize("turns", TRANSPOSES)
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("sides", [(3, 4, 5), (4, 6, 6), (2, 1, 3)])
def test_gradients_of_this_layer(
    call: Call, activation: str, turns: tuple[bool, bool], sides: tuple[int, int, int]
) -> None:
    m, k, n = sides
    x, y, bias = normal((m, k), "float64", 1), normal((k, n), "float64", 2), normal((n,), "float64", 3)
    g = normal((m, n), "float64", 4)
    kept = None if activation == "none" else ((m, n), "bool" if activation == "relu" else "float64")
    stored = [turned(x, turns[0]), turned(y, turns[1])]
    inputs = [*stored, bias]
    _, space = call("fused_gemm_epilogue", "float64", inputs, [*turns, activation], [((m, n), "float64"), kept])
    outputs = [(stored[0].shape, "float64"), (stored[1].shape, "float64"), ((n,), "float64")]
    dx, dy, dbias = call("fused_gemm_epilogue_grad", "float64", [*stored, space, g], [*turns, activation], outputs)
    assert_gradient(turned(dx, turns[0]), lambda v: act(v @ y + bias, activation), x, g)
    assert_gradient(turned(dy, turns[1]), lambda v: act(x @ v + bias, activation), y, g)
    assert_gradient(dbias, lambda v: act(x @ y + v, activation), bias, g)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gradients_of_large_layers(call: Call, dtype: str) -> None:
    """More than one panel each way; the slopes of relu are 0 and 1, so nothing but sums is inexact."""
    m, k, n = 530, 70, 600
    x, y, g = normal((m, k), dtype, 1), normal((k, n), dtype, 2), normal((m, n), dtype, 4)
    through = np.random.default_rng(5).random((m, n)) < 0.5
    outputs = [((m, k), dtype), ((k, n), dtype), ((n,), dtype)]
    wide = [a.astype(float) for a in (x, y, g)]
    for activation, space, flow in (("none", None, wide[2]), ("relu", through, wide[2] * through)):
        dx, dy, dbias = call("fused_gemm_epilogue_grad", dtype, [x, y, space, g], [False, False, activation], outputs)
        near(dx, flow @ wide[1].T, dtype, np.abs(flow) @ np.abs(wide[1].T), n)
        near(dy, wide[0].T @ flow, dtype, np.abs(wide[0].T) @ np.abs(flow), m)
        near(dbias, flow.sum(axis=0), dtype, np.abs(flow).sum(axis=0), m)


@pytest.mark.parametrize("turns", TRANSPOSES)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_gradient_behind_the_activation_of_the_layer_before(
    call: Call, activation: str, turns: tuple[bool, bool]
) -> None:
    """x is an activation's result, and x_grad that of its argument, kept by the layer that made x."""
    m, k, n = 3, 4, 5
    z, y, g = normal((m, k), "float64", 1), normal((k, n), "float64", 2), normal((m, n), "float64", 4)
    x = act(z, activation)
    stored = [turned(x, turns[0]), turned(y, turns[1])]
    space = turned(z > 0 if activation == "relu" else z, turns[0])
    outputs = [(stored[0].shape, "float64"), (stored[1].shape, "float64"), ((n,), "float64")]
    dx, dy, dbias = call("fused_gemm_epilogue_grad", "float64", [*stored, space, g], [*turns, activation], outputs)
    assert_gradient(turned(dx, turns[0]), lambda v: act(v, activation) @ y, z, g)
    np.testing.assert_allclose(turned(dy, turns[1]), x.T @ g, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dbias, g.sum(axis=0), rtol=1e-12, atol=1e-12)


def test_a_reserve_of_another_layer_is_refused(call: Call) -> None:
    x, y, g = np.ones((3, 4)), np.ones((4, 5)), np.ones((3, 5))
    outputs = [(x.shape, "float64"), None, None]
    for space in (np.ones((2, 2), bool), None):
        with pytest.raises(ValueError, match="reserve_space"):
            call("fused_gemm_epilogue_grad", "float64", [x, y, space, g], [False, False, "relu"], outputs)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("wide_sums", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_linear_param_grad_add(call: Call, dtype: str, wide_sums: bool, before: bool) -> None:
    gathered = "float32" if wide_sums and dtype in ("float16", "bfloat16") else dtype
    for lead, k, n in (((2, 3), 5, 7), ((700,), 130, 90), ((0,), 3, 2)):
        x, dout = normal((*lead, k), dtype, 1), normal((*lead, n), dtype, 2)
        start: list[Any] = [normal((k, n), gathered, 3), normal((n,), gathered, 4)] if before else [None, None]
        outputs = [((k, n), gathered), ((n,), gathered)]
        dw, db = call("fused_linear_param_grad_add", dtype, [x, dout, *start], [wide_sums, True], outputs)
        rows, flow = x.astype(float).reshape(-1, k), dout.astype(float).reshape(-1, n)
        old = [0.0 if a is None else a.astype(float) for a in start]
        near(dw, rows.T @ flow + old[0], gathered, np.abs(rows.T) @ np.abs(flow) + np.abs(old[0]), len(rows) + 1)
        near(db, flow.sum(axis=0) + old[1], gathered, np.abs(flow).sum(axis=0) + np.abs(old[1]), len(rows) + 1)


def test_gathered_gradients_in_place_and_without_bias(call: Call) -> None:
    x, dout, gathered = normal((6, 3), "float64", 1), normal((6, 4), "float64", 2), normal((3, 4), "float64", 3)
    wanted = gathered + x.T @ dout
    call("fused_linear_param_grad_add", "float64", [x, dout, gathered, None], [False, False], [gathered, None])
    np.testing.assert_allclose(gathered, wanted, rtol=1e-13, atol=1e-13)
    with pytest.raises(ValueError, match="dweight is"):
        call("fused_linear_param_grad_add", "float64", [x, dout, gathered.T.copy(), None], [False, False],
             [((3, 4), "float64"), None])  # fmt: skip


def bias_act(v: Array, method: str) -> Array:
    def gelu(z: Array) -> Array:
        return np.asarray(0.5 * z * (1 + _erf(z / np.sqrt(2))))

    if method in ("gelu", "relu"):
        return gelu(v) if method == "gelu" else np.maximum(v, 0)
    gate, linear = np.split(v, 2, axis=-1)
    return np.asarray((gelu(gate) if method == "geglu" else gate / (1 + np.exp(-gate))) * linear)


@pytest.mark.parametrize("method", ["gelu", "relu", "geglu", "swiglu"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_fused_bias_act(call: Call, dtype: str, method: str) -> None:
    for lead, width in (((2, 3), 18), ((400,), 200), ((0,), 4)):
        x, bias = normal((*lead, width), dtype, 1), normal((width,), dtype, 2)
        out = width // 2 if "glu" in method else width
        shift, smooth = normal((out,), dtype, 3), normal((out,), dtype, 4)
        attributes = [method, "default", -1.0, 0, 0.0, 0.0]
        plain = x.astype(float)
        for inputs, v, moved in (
            ([x, None, None, None, None], plain, False),
            ([x, bias, None, None, None], plain + bias.astype(float), False),
            ([x, bias, None, shift, smooth], plain + bias.astype(float), True),
        ):
            (got,) = call("fused_bias_act", dtype, inputs, attributes, [((*lead, out), dtype)])
            wanted = bias_act(v, method)
            if moved:
                wanted = (wanted + shift.astype(float)) * smooth.astype(float)
            size = np.abs(v).max(initial=1) ** 2 * (4 if moved else 1)
            near(got, wanted, dtype, size, 8)


@pytest.mark.parametrize("round_type", [0, 1])
def test_fused_bias_act_between_int8_products(call: Call, round_type: int) -> None:
    """int32 in, int8 out; relu, and scales that are powers of two, so that every step is exact."""
    x = np.random.default_rng(1).integers(-4000, 4000, (5, 16)).astype("int32")
    scales, bias = (2.0 ** -(np.arange(16) % 4 + 2)).astype("float32"), np.arange(16).astype("float32")
    v = np.maximum(x * scales.astype(float) + bias, 0)
    attributes = ["relu", "fp32", 1 / 127, round_type, 127.0, -127.0]
    (got,) = call("fused_bias_act", "int32", [x, bias, scales, None, None], attributes, [((5, 16), "int8")])
    scaled = np.float32(127) * np.float32(1 / 127) * v.astype("float32")
    rounded = np.rint(scaled) if round_type == 0 else np.floor(scaled + 0.5)
    np.testing.assert_array_equal(got, np.clip(rounded, -127, 127).astype("int8"))
    for compute, dtype in (("fp16", "float16"), ("bf16", "bfloat16"), ("fp32", "float32")):
        (got,) = call("fused_bias_act", "int32", [x, bias, scales, None, None],
                      ["relu", compute, -1.0, 0, 0.0, 0.0], [((5, 16), dtype)])  # fmt: skip
        assert got.dtype.name == dtype
        np.testing.assert_allclose(got.astype(float), v, rtol=2 * ROUNDOFF[dtype])


def test_fused_bias_act_refuses(call: Call) -> None:
    x, scales = np.ones((2, 4), "float32"), np.ones(4, "float32")
    for dtype, inputs, attributes, message in [
        ("float32", [x, None, None, None, None], ["silu", "default", -1.0, 0, 0.0, 0.0], "not 'silu'"),
        ("float32", [x, scales[:3], None, None, None], ["gelu", "default", -1.0, 0, 0.0, 0.0], "bias is"),
        ("float32", [x, None, scales, None, None], ["gelu", "default", -1.0, 0, 0.0, 0.0], "dequant_scales"),
        ("float32", [x, None, None, scales, None], ["gelu", "default", -1.0, 0, 0.0, 0.0], "shift and smooth"),
        (
            "int32",
            [x.astype("int32"), None, scales, None, None],
            ["gelu", "default", -1.0, 0, 0.0, 0.0],
            "compute_dtype",
        ),
        ("float32", [x[:, :3].copy(), None, None, None, None], ["swiglu", "default", -1.0, 0, 0.0, 0.0], "two halves"),
    ]:
        with pytest.raises((ValueError, NotImplementedError), match=message):
            call("fused_bias_act", dtype, inputs, attributes, [((2, 4), "float32")])
