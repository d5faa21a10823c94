"""Elementwise arithmetic against its definition in NumPy, evaluated in extended precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes
from kernel_checks import Array, assert_exact, assert_within_ulps, draw, sum_to_shape, with_specials

Call = Callable[..., list[Any]]
Function = Callable[..., Array]

FLOATS = ("float32", "float64")
SHAPES = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
PAIRS = mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4)
SEEDS = st.integers(0, 2**32 - 2)
FEW = settings(max_examples=25, deadline=None)

# Limits of the C library (glibc manual, "Errors in Math Functions", x86-64), counted from the correctly rounded result;
# half a unit more from the exact one.
EXP = LOG = SIN = ERF = POW = 1.5
TANH = 2.5

_erf = np.vectorize(math.erf, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])


def erfc(x: Array) -> Array:
    """erfc of an extended argument: math.erfc at the nearest double, carried on along the tangent."""
    near = x.astype(np.float64)
    tangent = -2 / np.sqrt(np.longdouble(math.pi)) * np.exp(-x * x)
    return np.asarray(_erfc(near) + np.where(np.isfinite(x), tangent * (x - near), 0))


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def normal_cdf(x: Array) -> Array:
    return 0.5 * erfc(-x / np.sqrt(np.longdouble(2)))


def normal_density(x: Array) -> Array:
    return np.asarray(np.exp(-x * x / 2) / np.sqrt(2 * np.longdouble(math.pi)))


def gelu_argument(x: Array) -> Array:
    return np.asarray(np.sqrt(2 / np.longdouble(math.pi)) * (x + np.longdouble("0.044715") * x**3))


def gelu_tanh_slope(x: Array) -> Array:
    inner = np.sqrt(2 / np.longdouble(math.pi)) * (1 + 3 * np.longdouble("0.044715") * x * x)
    curve = np.tanh(gelu_argument(x))
    return np.asarray(0.5 * (1 + curve) + 0.5 * x * (1 - curve**2) * inner)


@dataclass(frozen=True)
class Unary:
    """``definition(x)`` and ``slope(x, y)`` = dy/dx; ``saved`` is what Paddle passes to the gradient beside out_grad.

    ``ulps`` bounds the forward kernel. Gradients are sums of terms of size ``terms(x, y)``; they may be off by
    ``slope_ulps`` units of those.
    """

    definition: Function
    slope: Function | None
    saved: tuple[str, ...] = ("x",)
    ulps: float = 4
    slope_ulps: float = 8
    low: float = -6.0
    high: float = 6.0
    attributes: tuple[Any, ...] = ()
    terms: Function = field(default=lambda x, y: np.zeros_like(x))


UNARY: dict[str, Unary] = {
    "exp": Unary(np.exp, lambda x, y: y, ("out",), ulps=EXP),
    "log": Unary(np.log, lambda x, y: 1 / x, ulps=LOG, low=1e-3),
    "sqrt": Unary(np.sqrt, lambda x, y: 0.5 / y, ("out",), ulps=0.5, low=1e-3),
    "rsqrt": Unary(lambda x: 1 / np.sqrt(x), lambda x, y: -0.5 * y**3, ("out",), ulps=2, low=1e-3),
    "square": Unary(np.square, lambda x, y: 2 * x, ulps=0.5),
    "reciprocal": Unary(lambda x: 1 / x, lambda x, y: -y * y, ("out",), ulps=0.5),
    "sin": Unary(np.sin, lambda x, y: np.cos(x), ulps=SIN),
    "cos": Unary(np.cos, lambda x, y: -np.sin(x), ulps=SIN),
    "tanh": Unary(np.tanh, lambda x, y: 1 - y * y, ("out",), ulps=TANH, terms=lambda x, y: np.ones_like(x)),
    "sigmoid": Unary(sigmoid, lambda x, y: y * (1 - y), ("out",)),
    "silu": Unary(
        lambda x: x * sigmoid(x),
        lambda x, y: sigmoid(x) * (1 + x * sigmoid(-x)),
        ("x", "out"),
        terms=lambda x, y: sigmoid(x) * (1 + np.abs(x)),
    ),
    "logsigmoid": Unary(lambda x: -np.logaddexp(0, -x), lambda x, y: sigmoid(-x), ulps=EXP + 2 * LOG + 0.5),
    "relu": Unary(lambda x: np.where(x > 0, x, np.zeros_like(x)), lambda x, y: (x > 0) * 1.0, ("out",), ulps=0),
    "leaky_relu": Unary(
        lambda x: np.where(x < 0, x / 8, x), lambda x, y: np.where(x < 0, 1 / 8, 1.0), ulps=0, attributes=(0.125,)
    ),
    # A relative error e in the argument of erfc is one of x^2 e in the result. sqrt(1/2) and the product are rounded,
    # each by at most 2^-53 (2^-24), which can be a whole unit of the result: 2 * 36 units; 6 for erfc and the products.
    "gelu": Unary(
        lambda x: x * normal_cdf(x),
        lambda x, y: normal_cdf(x) + x * normal_density(x),
        attributes=(False,),
        ulps=78,
        terms=lambda x, y: 2 * (normal_cdf(x) + np.abs(x) * normal_density(x)),
    ),
    # The slope rounds x^2 <= 9 before exp, where the error counts absolutely: 9 units; exp, the constant, two products.
    "erf": Unary(
        _erf,
        lambda x, y: 2 / np.sqrt(np.longdouble(math.pi)) * np.exp(-x * x),
        ulps=ERF,
        slope_ulps=9 + EXP + 3,
        low=-3,
        high=3,
    ),
    "abs": Unary(np.abs, lambda x, y: np.sign(x), ulps=0),
    "floor": Unary(np.floor, lambda x, y: np.zeros_like(x), (), ulps=0),
    "ceil": Unary(np.ceil, lambda x, y: np.zeros_like(x), (), ulps=0),
}


def extended(array: Array) -> Array:
    return array.astype(np.longdouble)


def check_unary(call: Call, name: str, spec: Unary, x: Array) -> None:
    dtype = x.dtype.name
    (got,) = call(name, dtype, [x], list(spec.attributes), [(x.shape, dtype)])
    with np.errstate(all="ignore"):
        assert_within_ulps(got, np.asarray(spec.definition(extended(x))), spec.ulps)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
@FEW
@given(shape=SHAPES, seed=SEEDS)
def test_unary(call: Call, name: str, dtype: str, shape: tuple[int, ...], seed: int) -> None:
    spec = UNARY[name]
    check_unary(call, name, spec, draw(shape, dtype, seed, spec.low, spec.high))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_unary_special_values(call: Call, name: str, dtype: str) -> None:
    spec = UNARY[name]
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, np.finfo(dtype).max, np.finfo(dtype).tiny], dtype)
    check_unary(call, name, spec, x)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
@FEW
@given(shape=SHAPES, seed=SEEDS, in_place=st.booleans())
def test_unary_gradient(call: Call, name: str, dtype: str, shape: tuple[int, ...], seed: int, in_place: bool) -> None:
    spec = UNARY[name]
    assert spec.slope is not None
    x = draw(shape, dtype, seed, spec.low, spec.high)
    out_grad = draw(shape, dtype, seed + 1, -2, 2)
    (out,) = call(name, dtype, [x], list(spec.attributes), [(shape, dtype)])
    saved = [{"x": x, "out": out}[which] for which in spec.saved]
    g, wide_x, wide_y = extended(out_grad), extended(x), extended(out)
    target = out_grad if in_place else (shape, dtype)
    (got,) = call(f"{name}_grad", dtype, [*saved, out_grad], list(spec.attributes), [target])
    wanted = np.asarray(g * spec.slope(wide_x, wide_y))
    terms = np.abs(g) * np.maximum(spec.terms(wide_x, wide_y), np.abs(wanted / g))
    assert_within_ulps(got, wanted, spec.slope_ulps, terms)


@pytest.mark.parametrize("dtype", FLOATS)
def test_gelu_tanh_approximation(call: Call, dtype: str) -> None:
    x = np.linspace(-5, 5, 1001).astype(dtype)
    (got,) = call("gelu", dtype, [x], [True], [(x.shape, dtype)])
    wide = extended(x)
    assert_within_ulps(got, 0.5 * wide * (1 + np.tanh(gelu_argument(wide))), 4, np.abs(wide))
    # The same without cancellation. The argument reaches 17: its three roundings are up to 51 units of the result.
    assert_within_ulps(got, wide * sigmoid(2 * gelu_argument(wide)), 64)
    (got,) = call("gelu_grad", dtype, [x, np.ones_like(x)], [True], [(x.shape, dtype)])
    assert_within_ulps(got, gelu_tanh_slope(wide), 8, np.ones_like(wide))


def remainder_slopes(x: Array, y: Array) -> tuple[Array, Array]:
    return np.ones_like(x), -np.floor_divide(x, y)


@dataclass(frozen=True)
class Binary:
    """``definition(x, y)`` and ``slopes(x, y)`` = (dz/dx, dz/dy); the second operand is drawn from [y_low, y_high)."""

    definition: Function
    slopes: Callable[[Array, Array], tuple[Array, Array]] | None
    ulps: float = 0.5
    integer: bool = True
    axis: bool = False  # the gradient takes Paddle's axis
    saves_out: bool = False
    low: float = -4.0
    y_low: float = -4.0
    y_high: float = 4.0


def ones(x: Array) -> Array:
    return np.ones_like(x)


BINARY: dict[str, Binary] = {
    "add": Binary(np.add, lambda x, y: (ones(x), ones(y)), axis=True),
    "subtract": Binary(np.subtract, lambda x, y: (ones(x), -ones(y)), axis=True),
    "multiply": Binary(np.multiply, lambda x, y: (y, x), axis=True),
    "divide": Binary(np.divide, lambda x, y: (1 / y, -x / y**2), integer=False, axis=True, saves_out=True),
    "maximum": Binary(np.maximum, lambda x, y: (np.heaviside(x - y, 0.5), np.heaviside(y - x, 0.5)), ulps=0),
    "minimum": Binary(np.minimum, lambda x, y: (np.heaviside(y - x, 0.5), np.heaviside(x - y, 0.5)), ulps=0),
    "fmax": Binary(np.fmax, lambda x, y: (np.heaviside(x - y, 1.0), np.heaviside(y - x, 0.0)), ulps=0),
    "fmin": Binary(np.fmin, lambda x, y: (np.heaviside(y - x, 1.0), np.heaviside(x - y, 0.0)), ulps=0),
    "floor_divide": Binary(np.floor_divide, None, ulps=0, y_low=1),
    "remainder": Binary(np.remainder, remainder_slopes, ulps=1, y_low=1),
    "elementwise_pow": Binary(
        np.power, lambda x, y: (y * x ** (y - 1), np.log(x) * x**y), ulps=POW, low=0.25, y_low=0.5, integer=False
    ),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", BINARY)
@FEW
@given(shapes=PAIRS, seed=SEEDS, inferred=st.booleans())
def test_binary(call: Call, name: str, dtype: str, shapes: Any, seed: int, inferred: bool) -> None:
    spec = BINARY[name]
    x = draw(shapes.input_shapes[0], dtype, seed, spec.low, 4)
    y = draw(shapes.input_shapes[1], dtype, seed + 1, spec.y_low, spec.y_high)
    shape = shapes.result_shape if inferred else (-1,) * len(shapes.result_shape)
    (got,) = call(name, dtype, [x, y], [], [(shape, dtype)])
    assert_within_ulps(got, np.asarray(spec.definition(extended(x), extended(y))), spec.ulps)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [n for n in BINARY if n not in ("floor_divide", "remainder")])
@FEW
@given(shapes=PAIRS, seed=SEEDS)
def test_binary_special_values(call: Call, name: str, dtype: str, shapes: Any, seed: int) -> None:
    x = with_specials(draw(shapes.input_shapes[0], dtype, seed, -4, 4), seed)
    y = with_specials(draw(shapes.input_shapes[1], dtype, seed + 1, -4, 4), seed + 1)
    (got,) = call(name, dtype, [x, y], [], [(shapes.result_shape, dtype)])
    with np.errstate(all="ignore"):
        # In the dtype itself: underflow to a subnormal is rounded twice otherwise.
        assert_within_ulps(got, np.asarray(BINARY[name].definition(x, y)), 2 * POW)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("name", [n for n, spec in BINARY.items() if spec.integer])
@FEW
@given(shapes=PAIRS, seed=SEEDS)
def test_binary_of_integers(call: Call, name: str, dtype: str, shapes: Any, seed: int) -> None:
    x = draw(shapes.input_shapes[0], dtype, seed, -1000, 1000)
    y = draw(shapes.input_shapes[1], dtype, seed + 1, -9, 9)
    if name in ("floor_divide", "remainder"):
        y[y == 0] = 7
    (got,) = call(name, dtype, [x, y], [], [(shapes.result_shape, dtype)])
    assert_exact(got, np.asarray(BINARY[name].definition(x, y)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [n for n, spec in BINARY.items() if spec.slopes])
@FEW
@given(shapes=PAIRS, seed=SEEDS, wanted=st.sampled_from([(True, True), (True, False), (False, True)]))
def test_binary_gradient(call: Call, name: str, dtype: str, shapes: Any, seed: int, wanted: tuple[bool, bool]) -> None:
    spec = BINARY[name]
    assert spec.slopes is not None
    # Quarters make ties, so that the shares of equal operands are seen.
    x = np.round(4 * draw(shapes.input_shapes[0], dtype, seed, spec.low, 4)) / 4
    y = np.round(4 * draw(shapes.input_shapes[1], dtype, seed + 1, max(spec.y_low, -4), spec.y_high)) / 4
    if name in ("divide", "remainder"):
        y = np.where(y == 0, y.dtype.type(1), y)
    x, y = np.asarray(x, dtype), np.asarray(y, dtype)
    out_grad = draw(shapes.result_shape, dtype, seed + 2, -2, 2)
    saved = [x, y, np.divide(x, y)] if spec.saves_out else [x, y]
    outputs = [(a.shape, dtype) if keep else None for a, keep in zip((x, y), wanted, strict=True)]
    got = call(f"{name}_grad", dtype, [*saved, out_grad], [-1] if spec.axis else [], outputs)
    slopes = spec.slopes(*np.broadcast_arrays(extended(x), extended(y)))
    for grad, keep, slope, operand in zip(got, wanted, slopes, (x, y), strict=True):
        assert (grad is not None) == keep
        if keep:
            terms = extended(out_grad) * slope
            size = sum_to_shape(np.abs(terms), operand.shape)
            assert_within_ulps(grad, sum_to_shape(terms, operand.shape), 5, size)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "minimum"])
def test_gradient_in_place_of_out_grad(call: Call, name: str) -> None:
    x, y, out_grad = (draw((3, 5), "float64", seed, -2, 2) for seed in (1, 2, 3))
    attributes = [-1] if BINARY[name].axis else []
    fresh = call(f"{name}_grad", "float64", [x, y, out_grad], attributes, [((3, 5), "float64"), ((3, 5), "float64")])
    shared = call(f"{name}_grad", "float64", [x, y, out_grad], attributes, [out_grad, ((3, 5), "float64")])
    for a, b in zip(fresh, shared, strict=True):
        assert_exact(b, a)


@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
@FEW
@given(shapes=PAIRS, seed=SEEDS, dtype=st.sampled_from(FLOATS))
def test_division_of_special_values(call: Call, name: str, shapes: Any, seed: int, dtype: str) -> None:
    x = with_specials(draw(shapes.input_shapes[0], dtype, seed, -9, 9), seed)
    y = with_specials(draw(shapes.input_shapes[1], dtype, seed + 1, -3, 3), seed + 1)
    (got,) = call(name, dtype, [x, y], [], [(shapes.result_shape, dtype)])
    with np.errstate(all="ignore"):
        wanted = np.asarray(BINARY[name].definition(x, y))
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_division_of_the_smallest_integer_wraps(call: Call, dtype: str) -> None:
    x, y = np.array([np.iinfo(dtype).min], dtype), np.array([-1], dtype)
    assert call("floor_divide", dtype, [x, y], [], [((1,), dtype)])[0] == np.iinfo(dtype).min
    assert call("remainder", dtype, [x, y], [], [((1,), dtype)])[0] == 0
    assert call("div_scale", dtype, [x], [-1], [((1,), dtype)])[0] == np.iinfo(dtype).min


@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
def test_integer_division_by_zero_is_refused(call: Call, name: str) -> None:
    with pytest.raises(ValueError, match=rf"kernel {name} .*divided by zero"):
        call(name, "int32", [np.ones(2, "int32"), np.zeros(2, "int32")], [], [((2,), "int32")])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("exponent", [0, 0.5, 1, 2, 3, -1, -2.5])
@FEW
@given(shape=SHAPES, seed=SEEDS)
def test_pow(call: Call, dtype: str, exponent: float, shape: tuple[int, ...], seed: int) -> None:
    x, g = draw(shape, dtype, seed, 0.25, 4), draw(shape, dtype, seed + 1, -2, 2)
    (got,) = call("pow", dtype, [x], [exponent], [(shape, dtype)])
    assert_within_ulps(got, extended(x) ** np.longdouble(exponent), POW)
    (got,) = call("pow_grad", dtype, [x, g], [exponent], [(shape, dtype)])
    assert_within_ulps(got, extended(g) * exponent * extended(x) ** np.longdouble(exponent - 1), 4)


def test_pow_gradient_at_zero(call: Call) -> None:
    x, g = np.zeros(1), np.ones(1)
    slopes = [call("pow_grad", "float64", [x, g], [e], [((1,), "float64")])[0][0] for e in (0, 1, 2)]
    assert slopes == [0, 1, 0]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_powers(call: Call, dtype: str) -> None:
    x = np.array([-3, -1, 0, 1, 2, 3, 7], dtype)
    for exponent in (0, 1, 2, 5, 20):
        (got,) = call("pow", dtype, [x], [exponent], [(x.shape, dtype)])
        assert_exact(got, np.power(x, np.array(exponent, dtype)))
    (got,) = call("elementwise_pow", dtype, [x, np.array([-3], dtype)], [], [(x.shape, dtype)])
    assert got.tolist() == [0, -1, 0, 1, 0, 0, 0]


@FEW
@given(shape=SHAPES, seed=SEEDS, after=st.booleans(), dtype=st.sampled_from([*FLOATS, "int32", "int64", "int16"]))
def test_scale(call: Call, shape: tuple[int, ...], seed: int, after: bool, dtype: str) -> None:
    x = draw(shape, dtype, seed, -50, 50)
    s, b = (np.asarray(v).astype(dtype) for v in (3.75, -2.5))  # truncated for integers
    (got,) = call("scale", dtype, [x], [3.75, -2.5, after], [(shape, dtype)])
    assert_exact(got, np.asarray(x * s + b if after else (x + b) * s, dtype))


def test_scale_keeps_large_integers(call: Call) -> None:
    x = np.array([2**53 + 1])
    assert call("scale", "int64", [x], [1, 2**53 + 1, True], [((1,), "int64")])[0][0] == 2**54 + 2


@FEW
@given(shape=SHAPES, seed=SEEDS, dtype=st.sampled_from([*FLOATS, "int32", "int64"]))
def test_div_scale(call: Call, shape: tuple[int, ...], seed: int, dtype: str) -> None:
    x = draw(shape, dtype, seed, -50, 50)
    (got,) = call("div_scale", dtype, [x], [3.0], [(shape, dtype)])
    assert_exact(got, np.asarray(x / np.asarray(3, dtype) if dtype in FLOATS else np.trunc(x / 3), dtype))


@FEW
@given(shape=SHAPES, seed=SEEDS, dtype=st.sampled_from([*FLOATS, "int32", "int64"]))
def test_clip(call: Call, shape: tuple[int, ...], seed: int, dtype: str) -> None:
    x, g = draw(shape, dtype, seed, -9, 9), draw(shape, dtype, seed + 1, -9, 9)
    if dtype in FLOATS:
        x = with_specials(x, seed)
    low, high = (np.asarray(v).astype(dtype) for v in (-1, 5))
    (got,) = call("clip", dtype, [x], [-1, 5], [(shape, dtype)])
    assert_exact(got, np.asarray(np.clip(x, low, high)))
    (got,) = call("clip_grad", dtype, [x, g], [-1, 5], [(shape, dtype)])
    assert_exact(got, np.where((x >= low) & (x <= high), g, np.zeros_like(g)))


def test_clip_without_an_upper_bound(call: Call) -> None:
    x = np.array([-7, np.iinfo("int32").max], "int32")
    (got,) = call("clip", "int32", [x], [0, 3.4e38], [((2,), "int32")])
    assert got.tolist() == [0, np.iinfo("int32").max]
    with pytest.raises(ValueError, match="greater than max"):
        call("clip", "int32", [x], [2, 1], [((2,), "int32")])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("split", [False, True])
@FEW
@given(shape=array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5), seed=SEEDS)
def test_swiglu(call: Call, dtype: str, split: bool, shape: tuple[int, ...], seed: int) -> None:
    x, y, g = (draw(shape, dtype, seed + i, -5, 5) for i in range(3))
    joined = np.concatenate([x, y], axis=-1)
    inputs = [x, y] if split else [joined, None]
    (got,) = call("swiglu", dtype, inputs, [], [(shape, dtype)])
    a, b, wide_g = extended(x), extended(y), extended(g)
    assert_within_ulps(got, a * sigmoid(a) * b, 6)
    outputs = [(shape, dtype)] * 2 if split else [(joined.shape, dtype), None]
    x_grad, y_grad = call("swiglu_grad", dtype, [*inputs, g], [], outputs)
    if not split:
        x_grad, y_grad = np.split(x_grad, 2, axis=-1)
    assert_within_ulps(y_grad, wide_g * a * sigmoid(a), 6)
    slope = sigmoid(a) * (1 + a * sigmoid(-a))
    assert_within_ulps(x_grad, wide_g * b * slope, 8, np.abs(wide_g * b) * sigmoid(a) * (1 + np.abs(a)))


@pytest.mark.parametrize("name", ["exp", "gelu", "silu", "sigmoid", "tanh", "logsigmoid", "erf"])
def test_against_torch(call: Call, name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; it is only a second opinion here")
    functions = {**vars(torch), **{n: getattr(torch.nn.functional, n) for n in ("gelu", "silu", "logsigmoid")}}
    x = np.linspace(-6, 6, 501)
    leaf = torch.tensor(x, requires_grad=True)
    out = functions[name](leaf)
    out.sum().backward()
    spec = UNARY[name]
    (got,) = call(name, "float64", [x], list(spec.attributes), [(x.shape, "float64")])
    np.testing.assert_allclose(got, out.detach().numpy(), rtol=1e-12, atol=1e-15)
    saved = [{"x": x, "out": got}[which] for which in spec.saved]
    (grad,) = call(f"{name}_grad", "float64", [*saved, np.ones_like(x)], list(spec.attributes), [(x.shape, "float64")])
    np.testing.assert_allclose(grad, leaf.grad.numpy(), rtol=1e-12, atol=1e-15)
