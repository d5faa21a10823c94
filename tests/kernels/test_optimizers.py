"""Optimizers and loss scaling against their definitions in NumPy's float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kernel_checks import Array

Call = Callable[..., list[Any]]

RATE, BETA1, BETA2, EPSILON, DECAY = 0.01, 0.9, 0.95, 1e-8, 0.1
HALF = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def dtype_of(name: str) -> Any:
    return HALF.get(name, np.dtype(name))


def values(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype_of(dtype))


def adam(p: Array, g: Array, m: Array, v: Array, power1: float, power2: float, decay: float) -> list[Array]:
    """Loshchilov and Hutter, algorithm 2, with powers as of this step."""
    p, g, m, v = (array.astype(np.float64) for array in (p, g, m, v))
    m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
    size = np.sqrt(v / (1 - power2)) + EPSILON
    return [p * (1 - RATE * decay) - RATE * (m / (1 - power1)) / size, m, v]


def state(shape: tuple[int, ...], dtype: str, seed: int) -> tuple[Array, Array, Array, Array]:
    wide = "float32" if dtype in HALF else dtype
    first, second = values(shape, wide, seed + 2), np.abs(values(shape, wide, seed + 3))
    return values(shape, dtype, seed), values(shape, dtype, seed + 1), first, second


def close(got: Array, wanted: Array, roundings: float) -> None:
    unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}[got.dtype.name]
    np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=roundings * unit, atol=roundings * unit * 1e-2)


def one(value: float, dtype: str) -> Array:
    return np.array([value], dtype_of(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("master", [False, True])
@pytest.mark.parametrize("operator", ["adamw", "adam"])
def test_adam_and_adamw(call: Call, operator: str, dtype: str, master: bool) -> None:
    wide, shape = ("float32" if dtype in HALF else dtype), (5, 7)
    p, g, m, v = state(shape, dtype, 1)
    kept = values(shape, wide, 9) if master else None
    inputs = [p, g, one(RATE, wide), m, v, None, one(BETA1**3, wide), one(BETA2**3, wide), kept, None]
    own = [1.0, DECAY, True] if operator == "adamw" else []
    attributes = [BETA1, BETA2, EPSILON, *own, False, 1000, master, False, False]
    outputs = [(shape, dtype), (shape, wide), (shape, wide), None, ((1,), wide), ((1,), wide)]
    got = call(operator, dtype, inputs, attributes, [*outputs, (shape, wide) if master else None])
    decay = DECAY if operator == "adamw" else 0.0
    wanted = adam(p if kept is None else kept, g, m, v, BETA1**3, BETA2**3, decay)
    float_rounding = 64 if wide == "float32" else 2.0**30  # beta and the rate come as C's float or double
    for array, reference in zip([got[1], got[2], *got[6:]], [wanted[1], wanted[2], wanted[0]], strict=False):
        if array is not None:
            close(array, reference, float_rounding)
    if dtype in HALF:
        np.testing.assert_array_equal(got[0], (got[6] if master else got[0]).astype(dtype_of(dtype)))
        close(got[0], wanted[0], 1.05)
    np.testing.assert_allclose(got[4].astype(np.float64), BETA1**4, rtol=1e-6)
    np.testing.assert_allclose(got[5].astype(np.float64), BETA2**4, rtol=1e-6)


def test_a_skipped_step_changes_nothing(call: Call) -> None:
    p, g, m, v = state((6,), "float32", 4)
    inputs = [p, g, one(RATE, "float32"), m, v, None, one(0.9, "float32"), one(0.95, "float32"), None, np.array([True])]
    outputs = [((6,), "float32")] * 3 + [None, ((1,), "float32"), ((1,), "float32"), None]
    got = call("adam", "float32", inputs, [BETA1, BETA2, EPSILON, False, 1000, False, False, False], outputs)
    for array, kept in zip([got[0], got[1], got[2], got[4], got[5]], [p, m, v, inputs[6], inputs[7]], strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("operator", ["merged_adam", "fused_adam"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_many_parameters_step_as_each_alone(call: Call, operator: str, dtype: str) -> None:
    wide, shapes = ("float32" if dtype in HALF else dtype), [(3,), (4, 5)]
    states = [state(shape, dtype, 10 * i) for i, shape in enumerate(shapes)]
    p, g, m, v = (list(group) for group in zip(*states, strict=True))
    masters = [values(shape, wide, 50 + i) for i, shape in enumerate(shapes)]
    powers = [[one(beta**2, wide) for _ in shapes] for beta in (BETA1, BETA2)]
    rate = one(RATE, wide)
    merged = operator == "merged_adam"
    inputs: list[Any] = [p, g, [rate, rate] if merged else rate, m, v, None, *powers, masters]
    attributes = [BETA1, BETA2, EPSILON, *([] if merged else [256, DECAY, True]), True, False, False]
    outputs = [[(s, dtype) for s in shapes], *[[(s, wide) for s in shapes]] * 2, []]
    outputs += [[((1,), wide)] * 2, [((1,), wide)] * 2, [(s, wide) for s in shapes]]
    got = call(operator, dtype, inputs if merged else [*inputs, None], attributes, outputs)
    own = [1.0, 0.0 if merged else DECAY, not merged]
    for i, shape in enumerate(shapes):
        alone = call(
            "adamw",
            dtype,
            [p[i], g[i], rate, m[i], v[i], None, powers[0][i], powers[1][i], masters[i], None],
            [BETA1, BETA2, EPSILON, *own, False, 1000, True, False, False],
            [(shape, dtype), (shape, wide), (shape, wide), None, ((1,), wide), ((1,), wide), (shape, wide)],
        )
        for list_, array in zip(
            [got[0], got[1], got[2], got[6]], [alone[0], alone[1], alone[2], alone[6]], strict=True
        ):
            np.testing.assert_array_equal(list_[i], array)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_momentum(call: Call, dtype: str, nesterov: bool) -> None:
    wide, master = ("float32" if dtype in HALF else dtype), dtype in HALF
    p, g, v = values((9,), dtype, 1), values((9,), dtype, 2), values((9,), wide, 3)
    kept = values((9,), wide, 4) if master else None
    attributes = [0.9, nesterov, "l2_decay", 0.25, master, 0.5]
    outputs = [((9,), dtype), ((9,), wide), ((9,), wide) if master else None]
    got = call("momentum", dtype, [p, g, v, one(RATE, wide), kept], attributes, outputs)
    start = (p if kept is None else kept).astype(np.float64)
    slope = g.astype(np.float64) * 0.5 + 0.25 * start
    velocity = 0.9 * v.astype(np.float64) + slope
    stepped = start - RATE * (slope + 0.9 * velocity if nesterov else velocity)
    close(got[1], velocity, 64)
    close(got[2] if master else got[0], stepped, 64)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gradients_are_unscaled_and_looked_through(call: Call, dtype: str) -> None:
    xs = [values((40,), dtype, 1), values((3, 3), dtype, 2)]
    outputs = [[((40,), dtype), ((3, 3), dtype)], ((1,), "bool")]
    scale = one(8.0, "float32" if dtype in HALF else dtype)
    (unscaled, found) = call("check_finite_and_unscale", dtype, [xs, scale], [], outputs)
    assert not found[0]
    for x, y in zip(xs, unscaled, strict=True):
        np.testing.assert_array_equal(y, (x.astype(np.float64) / 8).astype(dtype_of(dtype)))
    for strange in (np.nan, np.inf, -np.inf):
        xs[1][2, 1] = strange
        assert call("check_finite_and_unscale", dtype, [xs, scale], [], outputs)[1][0]


@pytest.mark.parametrize(
    ("found", "good", "bad", "scale", "wanted"),
    [
        (False, 0, 1, 4.0, (4.0, 1, 0)),
        (False, 2, 0, 4.0, (8.0, 0, 0)),
        (True, 2, 0, 4.0, (4.0, 0, 1)),
        (True, 0, 1, 4.0, (2.0, 0, 0)),
        (True, 0, 1, 1.5, (1.0, 0, 0)),
        (False, 2, 0, 3e38, (3e38, 0, 0)),
    ],
)
def test_the_loss_scale_grows_and_shrinks(
    call: Call, found: bool, good: int, bad: int, scale: float, wanted: tuple[float, int, int]
) -> None:
    x = values((5,), "float32", 1)
    inputs = [[x], np.array([found]), one(scale, "float32"), np.array([good], np.int32), np.array([bad], np.int32)]
    outputs = [[((5,), "float32")], ((1,), "float32"), ((1,), "int32"), ((1,), "int32")]
    xs, new, goods, bads = call("update_loss_scaling", "float32", inputs, [3, 2, 2.0, 0.5, False], outputs)
    assert (new[0], goods[0], bads[0]) == (np.float32(wanted[0]), *wanted[1:])
    np.testing.assert_array_equal(xs[0], np.zeros(5, np.float32) if found else x)


def test_clip_by_norm(call: Call) -> None:
    x = values((1000,), "float32", 3)
    norm = np.linalg.norm(x.astype(np.float64))
    (got,) = call("clip_by_norm", "float32", [x], [2.0], [((1000,), "float32")])
    close(got, x.astype(np.float64) * 2 / norm, 4)
    (same,) = call("clip_by_norm", "float32", [x], [1e6], [((1000,), "float32")])
    np.testing.assert_array_equal(same, x)
