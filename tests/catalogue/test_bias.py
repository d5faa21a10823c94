"""The sign test: truncation is caught, rounding to nearest is not, and the false alarms are as rare as it says."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from adapter_conform import catalogue
from adapter_conform.bias import CALLS, FALSE_ALARM, Lean, _figures, leans, measures_bias, most_dissenters
from adapter_conform.catalogue.bounds import Array, Tracked, rounding_only
from adapter_conform.catalogue.gates import expect
from adapter_conform.catalogue.precision import Arithmetic

Rounding = Callable[[Array, type], Array]


def nearest(values: Array, dtype: type) -> Array:
    return values.astype(dtype)


def toward_zero(values: Array, dtype: type) -> Array:
    rounded = values.astype(dtype)
    beyond = np.abs(rounded.astype(values.dtype)) > np.abs(values)
    return np.where(beyond, np.nextafter(rounded, np.zeros_like(rounded)), rounded)


def downward(values: Array, dtype: type) -> Array:
    rounded = values.astype(dtype)
    return np.where(rounded.astype(np.float64) > values, np.nextafter(rounded, np.full_like(rounded, -np.inf)), rounded)


def verdict(name: str, storage: str, rounding: Rounding, dtype: type, **attributes: object) -> set[str]:
    """The ways in which ``rounding`` of the exact results of an operator is said to lean."""
    model = Arithmetic.of(storage, "float32")
    lean = Lean()
    spec = catalogue.get(name)
    for seed in range(CALLS):
        generator = np.random.default_rng(seed)
        arrays = [generator.standard_normal((8, 16)).astype(dtype).astype(np.float64) for _ in range(2)]
        operands = [Tracked(array, model) for array in arrays[: 2 if name in ("add", "multiply", "divide") else 1]]
        wide = expect(spec.oracle(operands, attributes)[0], storage)
        with rounding_only():
            narrow = expect(spec.oracle(operands, attributes)[0], storage)
        lean.add(wide, narrow, rounding(wide.value, dtype))
    return {figure.output for figure in _figures("out0", lean) if not figure.passed}


@pytest.mark.parametrize("name", ["add", "multiply", "exp", "sigmoid", "divide"])
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_rounding_to_nearest_leans_nowhere(name: str, storage: str) -> None:
    assert verdict(name, storage, nearest, np.float32 if storage == "float32" else np.float16) == set()


@pytest.mark.parametrize("name", ["add", "multiply"])
def test_truncation_leans_toward_zero(name: str) -> None:
    assert verdict(name, "float32", toward_zero, np.float32) == {"out0 outward"}
    assert verdict(name, "float32", downward, np.float32) == {"out0 upward"}


@pytest.mark.parametrize("name", ["add", "exp", "sigmoid", "divide"])
def test_truncation_to_a_half_type_is_seen_in_functions_too(name: str) -> None:
    assert "out0 outward" in verdict(name, "float16", toward_zero, np.float16)


def test_a_function_may_lean_within_what_the_standard_grants_it() -> None:
    assert verdict("exp", "float32", lambda values, dtype: (values * (1 + 2.0**-24)).astype(dtype), np.float32) == set()


def shifted(rounding: Rounding) -> set[str]:
    """The ways in which (x + 0.3) * 0.1 in float64 is said to lean, each step rounded from extended precision."""
    model, lean = Arithmetic.of("float64"), Lean()
    attributes = {"scale": 0.1, "bias": 0.3, "bias_after_scale": False}
    for seed in range(CALLS):
        values = np.random.default_rng(seed).standard_normal((7, 13))
        oracle = catalogue.get("scale").oracle
        wide = expect(oracle([Tracked(values, model)], attributes)[0], "float64")
        with rounding_only():
            narrow = expect(oracle([Tracked(values, model)], attributes)[0], "float64")
        moved = rounding(values.astype(np.longdouble) + np.longdouble(0.3), np.float64)
        lean.add(wide, narrow, rounding(moved.astype(np.longdouble) * np.longdouble(0.1), np.float64))
    return {figure.output for figure in _figures("out0", lean) if not figure.passed}


def test_a_constant_of_many_bits_is_rounded_the_same_way_beside_numbers_with_a_larger_last_place() -> None:
    assert shifted(nearest) == set()
    assert shifted(toward_zero) == {"out0 outward"}


def test_the_number_of_dissenters_is_the_binomial_one() -> None:
    k = most_dissenters(CALLS)
    tail = sum(math.comb(CALLS, i) for i in range(k + 1)) / 2**CALLS
    assert 2 * tail <= FALSE_ALARM < 2 * (tail + math.comb(CALLS, k + 1) / 2**CALLS)
    assert most_dissenters(20) == -1, "twenty tosses cannot be that strange"
    assert leans([1.0] * CALLS)
    assert not leans([1.0, -1.0] * (CALLS // 2))
    assert not leans([])


def test_exact_and_random_operators_are_left_out() -> None:
    assert not measures_bias(catalogue.get("relu"))
    assert not measures_bias(catalogue.get("uniform"))
    assert measures_bias(catalogue.get("matmul"))
