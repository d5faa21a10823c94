"""Integers and scales by definition: rounding, groups, calibration, GPTQ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from adapter_conform.quantization.calibration import OBSERVERS, calibrated
from adapter_conform.quantization.gptq import gptq
from adapter_conform.quantization.integers import BOUNDS, dequantized, quantized

Array = np.ndarray[Any, np.dtype[Any]]


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("group", [-1, 64, 128])
def test_half_a_unit_at_most(bits: int, group: int) -> None:
    weight = drawn(200, 6)
    weight[:, 2] = 0
    found = quantized(weight, bits, group)
    length = 200 if group == -1 else group
    assert found.scales.shape == (-(-200 // length), 6)
    assert np.abs(found.numbers).max() == BOUNDS[bits]
    units = np.repeat(found.scales, length, axis=0)[:200]
    assert np.all(np.abs(dequantized(found) - weight) <= 0.5001 * units)
    assert found.packed_bytes == 200 * 6 * bits // 8


def test_halves_round_away_from_zero() -> None:
    weight = np.array([[127.0], [0.5], [-0.5], [1.5], [-2.5]], np.float32)
    assert quantized(weight, 8).numbers[:, 0].tolist() == [127, 1, -1, 2, -3]


@pytest.mark.parametrize("group", [0, 32, -2])
def test_groups_that_paddle_does_not_know(group: int) -> None:
    with pytest.raises(ValueError, match="there are 64, 128 and -1"):
        quantized(drawn(64, 2), 8, group)


@pytest.mark.parametrize("observer", OBSERVERS)
def test_a_calibrated_product_is_near(observer: str) -> None:
    x, weight = drawn(400, 64), drawn(64, 32, seed=1)
    exact = x.astype(np.float64) @ weight
    found = calibrated(weight, x, observer)(x)
    assert 0 < np.linalg.norm(found - exact) / np.linalg.norm(exact) < 0.03


def test_outliers_are_what_the_observers_differ_in() -> None:
    """One feature is a hundred times larger: absmax spends its integers on it, migration does not."""
    x, weight = drawn(400, 64), drawn(64, 32, seed=1)
    x[:, 5] *= 100
    exact = x.astype(np.float64) @ weight
    small = np.delete(np.arange(64), 5)
    errors = {}
    for observer in ("absmax", "smooth"):
        rows = x.copy()
        product = calibrated(weight, x, observer)
        errors[observer] = np.linalg.norm(product(rows) - exact)
        rows[:, small] = 0
    assert errors["smooth"] < 0.5 * errors["absmax"]


def test_a_percentile_leaves_out_what_is_rare() -> None:
    x, weight = drawn(4000, 8), drawn(8, 4, seed=1)
    x[0, 0] = 1000.0
    ranges = {observer: float(calibrated(weight, x, observer).ranges.max()) for observer in ("absmax", "percentile")}
    assert ranges["absmax"] == 1000.0
    assert ranges["percentile"] < 5.0


def test_calibration_without_rows() -> None:
    with pytest.raises(ValueError, match="empty or zero"):
        calibrated(drawn(4, 4), np.zeros((3, 4), np.float32), "absmax")
    with pytest.raises(ValueError, match="do not meet"):
        gptq(drawn(4, 4), drawn(3, 5))


@pytest.mark.parametrize("group", [-1, 64])
def test_gptq_makes_good_what_rounding_spoils(group: int) -> None:
    """On features that go together: a third of the error of the product, or less."""
    mixing = drawn(24, 128, seed=3)
    x, weight = drawn(600, 24) @ mixing, drawn(128, 40, seed=1)
    exact = x.astype(np.float64) @ weight
    plain = np.linalg.norm(x @ dequantized(quantized(weight, 4, group)) - exact)
    chosen = gptq(weight, x, 4, group)
    assert np.abs(chosen.numbers).max() <= 7
    assert np.linalg.norm(x @ dequantized(chosen) - exact) < plain / 3


def test_gptq_of_features_that_have_nothing_in_common_is_rounding() -> None:
    weight = drawn(16, 8)
    found = gptq(weight, np.eye(16, dtype=np.float32), 4, damping=0.0)
    np.testing.assert_allclose(found.scales, quantized(weight, 4).scales)
    assert np.abs(dequantized(found) - weight).max() <= 0.5001 * found.scales.max()
