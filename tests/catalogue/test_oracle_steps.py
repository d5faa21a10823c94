"""Oracles of calls that round on the way to their result, and of what cannot be divided."""

from __future__ import annotations

import numpy as np
import pytest
from adapter_conform.catalogue.bounds import Tracked
from adapter_conform.catalogue.gates import expect
from adapter_conform.catalogue.precision import Arithmetic
from adapter_conform.catalogue.registry import get
from hypothesis import given
from hypothesis import strategies as st


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 6), classes=st.integers(2, 40))
def test_a_mean_of_losses_that_were_written_in_half_precision_is_right(seed: int, rows: int, classes: int) -> None:
    """Paddle's cross entropy writes a loss a row, and has another kernel take their mean."""
    drawing = np.random.default_rng(seed)
    logits = drawing.normal(0, 3, (rows, classes)).astype(np.float16)
    labels = drawing.integers(0, classes, rows)
    exact = logits.astype(np.float64)
    losses = np.log(np.exp(exact).sum(-1)) - exact[np.arange(rows), labels]
    result = losses.astype(np.float16).astype(np.float32).mean().astype(np.float16)
    operand = Tracked(exact, Arithmetic.of("float16", "float32"))
    attributes = {"reduction": "mean", "ignore_index": -100}
    expected = expect(get("cross_entropy_with_softmax").oracle([operand, labels], attributes)[0], "float16")
    assert expected.limit is not None
    assert np.abs(result.astype(np.float64) - expected.value) <= expected.limit


@pytest.mark.parametrize("name", ["fake_quantize_abs_max", "fake_channel_wise_quantize_abs_max"])
def test_a_channel_of_zeros_is_quantized_to_zeros(name: str) -> None:
    axis = 0 if "channel" in name else -1
    values = np.array([[0.0, -0.0], [3.0, -1.0]]) if axis == 0 else np.zeros((2, 2))
    numbers, scale = get(name).oracle([Tracked(values, Arithmetic.of("float32"))], {"axis": axis})
    assert scale.value.tolist() == ([0.0, 3.0] if axis == 0 else [0.0])
    assert (numbers.value[0] == 0).all()
    assert np.isfinite(numbers.value).all()
