"""The float functions of csrc/kernels/fast_exp.h against the C library in double precision, over their whole range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_checks import Array

Call = Callable[..., list[Any]]

_erf = np.vectorize(math.erf, otypes=[float])


def every(low: float, high: float, count: int = 200_001) -> Array:
    """Floats spread evenly over [low, high], and as many spread evenly over their exponents."""
    size = max(abs(low), abs(high))
    small = np.geomspace(1e-30, size, count)
    both = np.concatenate([np.linspace(low, high, count), small, -small]).astype(np.float32)
    return np.asarray(both[(both >= low) & (both <= high)])


def worst(got: Array, wanted: Array) -> float:
    """Largest error in units of the last place of the wanted float."""
    unit = np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64)
    return float(np.max(np.abs(got.astype(np.float64) - wanted) / unit))


def unary(call: Call, name: str, x: Array, *attributes: Any) -> Array:
    (got,) = call(name, "float32", [x], list(attributes), [(x.shape, "float32")])
    return np.asarray(got)


@pytest.mark.parametrize(
    ("name", "low", "high", "function", "ulps"),
    [
        ("exp", -87.3, 88.7, np.exp, 1.1),
        ("tanh", -30.0, 30.0, np.tanh, 1.6),
        ("sigmoid", -87.0, 30.0, lambda x: np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x))), 3.0),
        ("erf", -6.0, 6.0, _erf, 1.5),
    ],
)
def test_within_a_few_units_in_the_last_place(
    call: Call, name: str, low: float, high: float, function: Callable[[Array], Array], ulps: float
) -> None:
    x = every(low, high)
    with np.errstate(over="ignore"):
        assert worst(unary(call, name, x), function(x.astype(np.float64))) <= ulps


def test_exp_below_the_normal_numbers_and_beyond_the_range(call: Call) -> None:
    x = np.linspace(-110, -87, 20001).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.max(np.abs(unary(call, "exp", x) - exact)) <= 1.5 * 2.0**-149 + 2.0**-24 * exact.max()
    special = np.array([np.inf, -np.inf, np.nan, -200, 89, 3e38, -3e38, 0.0, -0.0], np.float32)
    np.testing.assert_array_equal(
        unary(call, "exp", special), np.float32([np.inf, 0, np.nan, 0, np.inf, np.inf, 0, 1, 1])
    )


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "erf"])
def test_ends_of_the_line(call: Call, name: str) -> None:
    low = 0.0 if name == "sigmoid" else -1.0
    got = unary(call, name, np.array([np.inf, -np.inf, np.nan, 3e38, -3e38], np.float32))
    np.testing.assert_array_equal(got, np.float32([1, low, np.nan, 1, low]))


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_odd_functions_keep_the_sign_of_zero(call: Call, name: str) -> None:
    assert np.signbit(unary(call, name, np.array([0.0, -0.0], np.float32))).tolist() == [False, True]


def test_gelu_does_not_cancel_in_its_tail(call: Call) -> None:
    """x * P(X <= x). The argument x / sqrt(2) is off by two roundings, each of which counts x^2 times in the tail."""
    x = np.linspace(-12, 12, 100_001).astype(np.float32)
    wide = x.astype(np.float64)
    exact = 0.5 * wide * np.vectorize(math.erfc)(-wide / math.sqrt(2))
    unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert np.all(np.abs(unary(call, "gelu", x, False) - exact) <= (10 + 2 * wide**2) * unit)
