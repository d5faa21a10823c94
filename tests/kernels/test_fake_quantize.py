"""Numbers rounded to a grid of integers: observers, quantization-aware training, converted models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kernel_checks import Array, assert_exact

Call = Callable[..., list[Any]]

DTYPES = ("float32", "float16", "bfloat16")
ONE = np.ones(1, "float32")


def stored(array: Array | list[float], dtype: str) -> Array:
    return np.asarray(array).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def off_halves(shape: tuple[int, ...], seed: int, dtype: str) -> Array:
    """Multiples of 1/4 that are no multiples of 1/2, up to 200: far from a half on a grid with step 1."""
    whole = np.random.default_rng(seed).integers(-200 if dtype != "bfloat16" else -30, 30, shape)
    return stored(whole + 0.25, dtype)


def along(values: Array, ndim: int, axis: int) -> Array:
    return values if axis < 0 else values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def integers(x: Array, scale: Array, qmax: int, round_type: int) -> Array:
    """By the definition, in float64; ``scale`` broadcasts."""
    wide = x.astype(float)
    if round_type == 0:
        return np.clip(np.rint(wide * qmax / scale), -qmax - 1, qmax)
    scaled = np.clip(wide, -scale, scale) * qmax / scale
    return np.asarray(np.sign(scaled) * np.floor(np.abs(scaled) + 0.5))


def quantize(call: Call, x: Array, scale: Array, dtype: str, axis: int, round_type: int, **extra: Any) -> Array:
    qmax = extra.get("qmax", 127)
    attributes = [axis, 8, -qmax - 1, qmax, round_type, False]
    zero = np.zeros_like(scale)
    (got,) = call("quantize_linear_deprecated_infer", dtype, [x, scale, zero], attributes, [(x.shape, dtype)])
    full = [*attributes[:-1], True, False]
    again = call("quantize_linear", dtype, [x, scale, zero, None, None], full, [(x.shape, dtype), None, None, None])
    assert_exact(again[0].astype(float), got.astype(float))
    return np.asarray(got)


@pytest.mark.parametrize("round_type", [0, 1])
@pytest.mark.parametrize("axis", [-1, 0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_quantize_linear(call: Call, dtype: str, axis: int, round_type: int) -> None:
    for shape in ((3, 5, 4), (2, 40, 70), (1, 2, 3)):
        x = off_halves(shape, 1, dtype)
        count = 1 if axis < 0 else shape[axis]
        scale = stored(127 * 2.0 ** (np.arange(count) % 3), dtype)  # steps of 1, 2 and 4
        if axis >= 0:  # the steps of 2 and 4 keep their quarter
            x = stored(x.astype(float) * along(scale.astype(float) / 127, 3, axis), dtype)
        got = quantize(call, x, scale, dtype, axis, round_type)
        assert_exact(got.astype(float), integers(x, along(scale.astype(float), 3, axis), 127, round_type))
        assert np.abs(got.astype(float)).max() >= 1


def test_halves_and_limits_of_the_two_ways_to_round(call: Call) -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 200, -200, np.nan, np.inf, -np.inf, -127.9], "float32")
    scale = np.array([127.0], "float32")
    even = quantize(call, x, scale, "float32", -1, 0)
    assert_exact(even, np.array([0, 2, 2, -0.0, -2, 127, -128, np.nan, 127, -128, -128], "float32"))
    away = quantize(call, x, scale, "float32", -1, 1)
    assert_exact(away, np.array([1, 2, 3, -1, -2, 127, -127, np.nan, 127, -127, -127], "float32"))


def test_a_scale_of_nothing_does_not_divide_by_zero(call: Call) -> None:
    x = np.array([0, 1e-9, 1], "float32")
    got = quantize(call, x, np.zeros(1, "float32"), "float32", -1, 0)
    assert_exact(got, np.array([0, 0, 127], "float32"))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_quantize_linear_measures_in_training(call: Call, dtype: str) -> None:
    x = off_halves((4, 6), 2, dtype)
    accum, state, scale = stored([5.0], dtype), stored([2.0], dtype), stored([9.0], dtype)
    attributes = [-1, 8, -128, 127, 0, False, False]
    outputs = [(x.shape, dtype), *[((1,), dtype)] * 3]
    got, new_state, new_accum, new_scale = call(
        "quantize_linear", dtype, [x, scale, stored([0.0], dtype), accum, state], attributes, outputs
    )
    peak = np.abs(x.astype(float)).max()
    for value, wanted in ((new_state, 0.9 * 2 + 1), (new_accum, 0.9 * 5 + peak), (new_scale, (4.5 + peak) / 2.8)):
        np.testing.assert_allclose(value.astype(float), [wanted], rtol=1e-6 if dtype == "float32" else 2e-3)
    exact = np.clip(x.astype(float) * 127 / new_scale.astype(float), -128, 127)
    assert (np.abs(got.astype(float) - exact) <= 0.501).all()

    attributes[0] = 1  # channel by channel
    outputs[3] = ((6,), dtype)
    got, new_state, new_accum, new_scale = call(
        "quantize_linear", dtype, [x, stored(np.ones(6), dtype), stored(np.zeros(6), dtype), accum, state],
        attributes, outputs,
    )  # fmt: skip
    np.testing.assert_array_equal(new_scale.astype(float), np.abs(x.astype(float)).max(axis=0))
    np.testing.assert_array_equal(new_state, state)
    np.testing.assert_array_equal(new_accum, accum)
    exact = x.astype(float) * 127 / new_scale.astype(float)
    assert (np.abs(got.astype(float) - exact) <= 0.501).all()


def test_an_observer_lets_pass(call: Call) -> None:
    x, scale = off_halves((4, 6), 2, "float32"), np.full(1, 3.0, "float32")
    for name, dtype in (("quantize_linear", "float32"), ("dequantize_linear", "float32")):
        attributes = [-1, 8, -128, 127, 0, True, True]
        outputs = [(x.shape, dtype), ((1,), dtype), ((1,), dtype), ((1,), dtype)]
        got, state, accum, kept = call(name, dtype, [x, scale, 0 * scale, scale + 1, scale + 2], attributes, outputs)
        assert_exact(got, x)
        assert [float(v[0]) for v in (state, accum, kept)] == [5.0, 4.0, 3.0]


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("scale_dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("dtype", ["int8", "float32", "float16", "bfloat16"])
def test_dequantize_linear(call: Call, dtype: str, scale_dtype: str, axis: int) -> None:
    shape = (5, 33)
    x = stored(np.random.default_rng(3).integers(-128, 128, shape), dtype)
    scale = stored(np.random.default_rng(4).uniform(0.5, 9, 1 if axis < 0 else shape[axis]), scale_dtype)
    wanted = x.astype(float) * along(scale.astype(float), 2, axis) / 127
    attributes = [axis, 8, -128, 127, 0, False]
    (got,) = call("dequantize_linear_deprecated", dtype, [x, scale, 0 * scale], attributes, [(shape, scale_dtype)])
    eps = float(ml_dtypes.finfo(scale.dtype).eps)
    np.testing.assert_allclose(got.astype(float), wanted, rtol=3 * max(2.0**-24, eps) if eps > 1e-10 else 1e-15)
    full = [*attributes[:-1], True, False]
    again = call("dequantize_linear", dtype, [x, scale, 0 * scale, None, None], full,
                 [(shape, scale_dtype), None, None, None])  # fmt: skip
    assert_exact(again[0].astype(float), got.astype(float))


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_absolute_maximum(call: Call, dtype: str, axis: int | None) -> None:
    """The integers, and the numbers they stand for."""
    for shape in ((6, 50), (40, 3), (2, 70000), (0, 4)):
        x = stored(np.random.default_rng(5).standard_normal(shape), dtype)
        channel = "" if axis is None else "channel_wise_"
        attributes = [8, 1] if axis is None else [8, 1, axis]
        count = 1 if axis is None else shape[axis]
        outputs = [(shape, dtype), ((count,), dtype)]
        q, scale = call(f"fake_{channel}quantize_abs_max", dtype, [x],
                        attributes if axis is None else [*attributes, False], outputs)  # fmt: skip
        numbers, again = call(f"fake_{channel}quantize_dequantize_abs_max", dtype, [x], attributes, outputs)
        wide = np.abs(x.astype(float))
        peak = wide.max(initial=0) if axis is None else wide.max(axis=1 - axis, initial=0)
        np.testing.assert_array_equal(scale.astype(float), np.broadcast_to(peak, count))
        np.testing.assert_array_equal(again, scale)
        step = along(scale.astype(float), 2, -1 if axis is None else axis) / 127
        with np.errstate(divide="ignore", invalid="ignore"):
            exact = x.astype(float) / step
        assert (np.abs(q.astype(float) - exact) <= 0.5001).all()
        roundoff = float(ml_dtypes.finfo(x.dtype).eps)
        assert (
            np.abs(numbers.astype(float) - q.astype(float) * step) <= roundoff * np.abs(q.astype(float) * step)
        ).all()


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_other_numbers_of_bits(call: Call, bits: int) -> None:
    x = np.random.default_rng(6).standard_normal((7, 9)).astype("float32")
    q, scale = call("fake_quantize_abs_max", "float32", [x], [bits, 0], [(x.shape, "float32"), ((1,), "float32")])
    largest = 2 ** (bits - 1) - 1
    assert np.abs(q).max() == largest
    assert (np.abs(q - x.astype(float) * largest / scale) <= 0.5 + 1e-2).all()


@pytest.mark.parametrize("kind", ["quantize", "quantize_dequantize"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_moving_average(call: Call, dtype: str, kind: str) -> None:
    name = f"fake_{kind}_moving_average_abs_max"
    x = stored(np.random.default_rng(7).standard_normal((30, 11)), dtype)
    before = [stored([v], dtype) for v in (0.5, 3.0, 2.0)]  # scale, accum, state
    outputs = [(x.shape, dtype), *[((1,), dtype)] * 3]
    got, scale, state, accum = call(name, dtype, [x, *before], [0.75, 8, False, 1], outputs)
    peak, rtol = np.abs(x.astype(float)).max(), 1e-6 if dtype == "float32" else 2e-3
    np.testing.assert_allclose(state.astype(float), [2.5], rtol=rtol)
    np.testing.assert_allclose(accum.astype(float), [2.25 + peak], rtol=rtol)
    np.testing.assert_allclose(scale.astype(float), [(2.25 + peak) / 2.5], rtol=rtol)

    def off(result: Array, by: Array) -> float:
        """Distance from x, limited to the scale, in steps."""
        step = by.astype(float) / 127
        limited = np.clip(x.astype(float), -by.astype(float), by.astype(float))
        return float(np.abs(result.astype(float) * (step if kind == "quantize" else 1) - limited).max() / step[0])

    slack = 0.501 if dtype == "float32" or kind == "quantize" else 0.57
    assert off(got, scale) <= slack
    got, kept, *_ = call(name, dtype, [x, before[0], None, None], [0.75, 8, True, 1], [*outputs[:2], None, None])
    assert off(got, before[0]) <= slack
    np.testing.assert_array_equal(kept, before[0])


def test_statistics_are_updated_in_place(call: Call) -> None:
    x = np.array([3.0, -4.0], "float32")
    scale, accum, state = (np.array([v], "float32") for v in (0.5, 3.0, 2.0))
    call("fake_quantize_moving_average_abs_max", "float32", [x, scale, accum, state], [0.5, 8, False, 1],
         [((2,), "float32"), scale, state, accum])  # fmt: skip
    assert (float(scale[0]), float(accum[0]), float(state[0])) == (2.75, 5.5, 2.0)


def test_moving_average_abs_max_scale(call: Call) -> None:
    x = np.array([3.0, -4.0, np.nan], "float32")
    outputs = [((3,), "float32"), *[((1,), "float32")] * 3]
    got, scale, state, accum = call(
        "moving_average_abs_max_scale", "float32", [x, 3 * ONE, 2 * ONE], [0.5, False], outputs
    )
    assert_exact(got, x)
    assert [float(v[0]) for v in (scale, state, accum)] == [2.75, 2.0, 5.5]
    (got, *_) = call(
        "moving_average_abs_max_scale", "float32", [x, None, None], [0.5, True], [outputs[0], None, None, None]
    )
    assert_exact(got, x)
    with pytest.raises(ValueError, match="in_accum and in_state"):
        call("moving_average_abs_max_scale", "float32", [x, None, None], [0.5, False], outputs)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("fake_quantize_dequantize_abs_max_grad", [8, 1]),
        ("fake_channel_wise_quantize_dequantize_abs_max_grad", [8, 1, 0]),
        ("fake_quantize_dequantize_moving_average_abs_max_grad", [0.9, 8, False, 1]),
    ],
)
def test_the_gradient_passes(call: Call, name: str, attributes: list[Any]) -> None:
    g = np.random.default_rng(8).standard_normal((5, 6)).astype("float32")
    (got,) = call(name, "float32", [g], attributes, [((5, 6), "float32")])
    assert_exact(got, g)


def test_fake_dequantize_and_channel_scales(call: Call) -> None:
    x = np.random.default_rng(9).integers(-127, 128, (4, 5)).astype("float32")
    (got,) = call("fake_dequantize_max_abs", "float32", [x, 3 * ONE], [127.0], [((4, 5), "float32")])
    np.testing.assert_allclose(got, x.astype(float) * 3 / 127, rtol=3e-7)
    scales = np.arange(1, 6).astype("float32")
    (got,) = call("apply_per_channel_scale", "float32", [x, scales], [], [((4, 5), "float32")])
    assert_exact(got, x * scales)
    with pytest.raises(ValueError, match="apply_per_channel_scale"):
        call("apply_per_channel_scale", "float32", [x, scales[:4]], [], [((4, 5), "float32")])


def test_what_cannot_be_is_refused(call: Call) -> None:
    x = np.ones((2, 3), "float32")
    for attributes, scale, message in [
        ([0, 8, -128, 127, 0, False], np.ones(3, "float32"), "2 channels"),
        ([-1, 8, -128, 127, 2, False], ONE, "round_type"),
        ([-1, 8, -448, 448, 0, False], ONE, "8-bit float"),
    ]:
        with pytest.raises((ValueError, NotImplementedError, RuntimeError), match=message):
            call("quantize_linear_deprecated_infer", "float32", [x, scale, scale], attributes, [((2, 3), "float32")])
