"""The gates on planted errors: each must be caught; and healthy float32 results must pass."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from adapter_conform import catalogue
from adapter_conform.cases import GateFigure
from adapter_conform.catalogue.bounds import Array, Tracked
from adapter_conform.catalogue.gates import POISON, compare, expect
from adapter_conform.catalogue.precision import Arithmetic
from hypothesis import given, settings
from hypothesis import strategies as st

F32 = Arithmetic.of("float32")


def tracked(array: Array, model: Arithmetic = F32) -> Tracked:
    return Tracked(array.astype(model.reference), model)


def judge(
    name: str, inputs: list[Array], attributes: dict[str, object], actual: Array, **extra: object
) -> list[GateFigure]:
    """The figures for ``actual`` as the first output of ``name``."""
    model = Arithmetic.of("float32", str(extra.pop("accumulator", "float32")))
    operands = [tracked(array, model) if array.dtype.kind == "f" else array for array in inputs]
    expected = expect(catalogue.get(name).oracle(operands, attributes)[0], str(extra.pop("dtype", "float32")))
    probe = extra.pop("probe", None)
    return compare("out0", expected, actual, str(actual.dtype), None if probe is None else int(str(probe)))


def failed(figures: list[GateFigure]) -> set[str]:
    return {figure.gate for figure in figures if not figure.passed}


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


MATMUL = {"transpose_x": False, "transpose_y": False}


def product() -> tuple[list[Array], Array]:
    left, right = normal(64, 512, seed=1), normal(512, 96, seed=2)
    return [left, right], left @ right


def test_a_float32_product_passes() -> None:
    inputs, result = product()
    assert not failed(judge("matmul", inputs, MATMUL, result))


def zeroed(result: Array) -> Array:
    result[3, 5] = 0
    return result


def one_wrong(result: Array) -> Array:
    result[60, 90] *= np.float32(1.001)
    return result


def swapped(result: Array) -> Array:
    result[:, [4, 5]] = result[:, [5, 4]]
    return result


def sign_lost(result: Array) -> Array:
    result[7, 7] = -result[7, 7]
    return result


def nan_made(result: Array) -> Array:
    result[0, 0] = np.nan
    return result


def unwritten(result: Array) -> Array:
    result[2, :8] = np.frombuffer(bytes([POISON] * 32), np.float32)
    return result


@pytest.mark.parametrize(
    ("fault", "gate"),
    [
        (zeroed, "bound"),
        (one_wrong, "bound"),
        (swapped, "bound"),
        (sign_lost, "bound"),
        (nan_made, "nonfinite"),
        (unwritten, "unwritten"),
    ],
)
def test_one_bad_element_of_a_product_is_caught(fault: Callable[[Array], Array], gate: str) -> None:
    inputs, result = product()
    assert gate in failed(judge("matmul", inputs, MATMUL, fault(result.copy())))


def test_a_product_in_bfloat16_is_caught() -> None:
    inputs, _ = product()
    coarse = [array.astype(ml_dtypes.bfloat16).astype(np.float32) for array in inputs]
    assert "bound" in failed(judge("matmul", inputs, MATMUL, coarse[0] @ coarse[1]))


def test_a_bfloat16_accumulator_is_caught() -> None:
    inputs, result = product()
    partial = np.zeros_like(result, dtype=ml_dtypes.bfloat16)
    for k in range(0, 512, 64):
        partial = (partial + (inputs[0][:, k : k + 64] @ inputs[1][k : k + 64])).astype(ml_dtypes.bfloat16)
    assert "bound" in failed(judge("matmul", inputs, MATMUL, partial.astype(np.float32)))


def test_a_reduction_that_misses_the_last_element_is_caught() -> None:
    x = normal(16, 257)
    assert "bound" in failed(judge("sum", [x], {"axis": 1, "keepdim": False}, x[:, :-1].sum(axis=1)))
    assert not failed(judge("sum", [x], {"axis": 1, "keepdim": False}, x.sum(axis=1)))


def test_a_float32_sum_does_not_pass_for_a_declared_float64_accumulator() -> None:
    x = np.abs(normal(1, 200_003))
    serial = np.cumsum(x[0], dtype=np.float32)[-1:]
    assert "bound" in failed(judge("sum", [x], {"axis": 1, "keepdim": False}, serial, accumulator="float64"))
    assert not failed(judge("sum", [x], {"axis": 1, "keepdim": False}, serial))


def test_the_exact_probe_sees_one_unit_in_the_last_place() -> None:
    x = np.random.default_rng(3).integers(-4, 5, (8, 100)).astype(np.float32)
    total = x.sum(axis=1)
    attributes = {"axis": 1, "keepdim": False}
    assert not failed(judge("sum", [x], attributes, total, probe=0))
    off = total.copy()
    off[5] = np.nextafter(off[5], np.float32(np.inf))
    assert failed(judge("sum", [x], attributes, off, probe=0)) == {"probe"}


def test_lost_nan_and_infinity_are_caught() -> None:
    x = np.array([1.0, np.nan, np.inf, -np.inf], np.float32)
    assert not failed(judge("exp", [x], {}, np.exp(x)))
    for index, wrong in ((1, 0.0), (2, 3.4e38), (2, -np.inf), (3, np.nan)):
        result = np.exp(x)
        result[index] = wrong
        assert failed(judge("exp", [x], {}, result)), (index, wrong)


def test_exact_operators_allow_no_other_bit() -> None:
    x = normal(5, 7)
    result = np.maximum(x, 0)
    assert not failed(judge("relu", [x], {}, result))
    positive = np.argwhere(result > 0)[0]
    result[tuple(positive)] = np.nextafter(result[tuple(positive)], np.float32(9))
    assert failed(judge("relu", [x], {}, result)) == {"exact"}


def test_a_bool_is_the_byte_zero_or_one() -> None:
    left, right = np.arange(4), np.array([0, 9, 2, 9])
    good = left == right
    assert not failed(judge("equal", [left, right], {}, good, dtype="bool"))
    strange = (good.astype(np.uint8) * 2).view(np.bool_)
    assert "exact" in failed(judge("equal", [left, right], {}, strange, dtype="bool"))
    poisoned = np.full(4, POISON, np.uint8).view(np.bool_)
    assert "unwritten" in failed(judge("equal", [left, right], {}, poisoned, dtype="bool"))


def test_a_16_bit_result_that_is_the_poison_by_right_counts_as_written() -> None:
    by_right = np.full(2, POISON * 0x101, np.uint16).view(np.float16)
    model = Arithmetic.of("float16", "float32")
    expected = expect(Tracked(by_right.astype(np.float64) + 1e-3, model) * 1.0, "float16")
    assert not failed(compare("out0", expected, by_right, "float16", None))
    elsewhere = expect(Tracked(by_right.astype(np.float64) + 1.0, model) * 1.0, "float16")
    assert {"unwritten", "bound"} <= failed(compare("out0", elsewhere, by_right, "float16", None))


def test_wrong_shape_and_dtype_are_caught() -> None:
    x = normal(3, 4)
    assert failed(judge("exp", [x], {}, np.exp(x).T)) == {"form"}
    assert failed(judge("exp", [x], {}, np.exp(x.astype(np.float64)))) == {"form"}


def test_overflow_to_infinity_is_right_and_to_the_wrong_sign_is_not() -> None:
    x = np.array([3e38, -3e38], np.float32)
    assert not failed(judge("add", [x, x], {}, np.array([np.inf, -np.inf], np.float32)))
    assert failed(judge("add", [x, x], {}, np.array([np.inf, np.inf], np.float32)))


HEALTHY: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sin": np.sin,
    "square": np.square,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("name", HEALTHY)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-3, 1.0, 20.0]))
def test_healthy_float32_functions_pass(name: str, seed: int, scale: float) -> None:
    x = normal(200, seed=seed) * np.float32(scale)
    assert not failed(judge(name, [x], {}, HEALTHY[name](x)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), m=st.integers(1, 20), k=st.integers(0, 300), n=st.integers(1, 20))
def test_healthy_products_and_sums_pass(seed: int, m: int, k: int, n: int) -> None:
    left, right = normal(m, k, seed=seed), normal(k, n, seed=seed + 1)
    assert not failed(judge("matmul", [left, right], MATMUL, left @ right))
    assert not failed(judge("sum", [left], {"axis": 1, "keepdim": False}, left.sum(axis=1)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 400))
def test_healthy_softmax_passes(seed: int, n: int) -> None:
    x = normal(4, n, seed=seed) * np.float32(5)
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    assert not failed(judge("softmax", [x], {"axis": -1}, powers / powers.sum(axis=1, keepdims=True)))


def test_softmax_without_the_shift_or_with_a_lost_lane_is_caught() -> None:
    x = normal(4, 100) * np.float32(5)
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    short = powers / powers[:, :-1].sum(axis=1, keepdims=True)
    assert "bound" in failed(judge("softmax", [x], {"axis": -1}, short))
    large = x + np.float32(200)
    with np.errstate(over="ignore", invalid="ignore"):
        unshifted = np.exp(large) / np.exp(large).sum(axis=1, keepdims=True)
    assert "nonfinite" in failed(judge("softmax", [large], {"axis": -1}, unshifted))
