"""Gradient oracles against finite differences of the forward oracles, in extended precision."""

from __future__ import annotations

import numpy as np
import pytest
from adapter_conform import catalogue
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.draw import draw
from adapter_conform.catalogue.precision import Arithmetic
from adapter_conform.catalogue.spec import Description, OperatorSpec
from adapter_conform.catalogue.values import make_inputs

MODEL = Arithmetic.of("float64")
STEP = 1e-6
NOT_DERIVATIVES = {
    "dropout_train": "built so that its gradient is zero, on arrays large enough for a distribution",
    "fused_dropout_add_train": "as dropout_train",
    "fake_quantize_dequantize_moving_average_abs_max": "passed straight through, also where the value is clipped",
}
DIFFERENTIABLE = [spec for spec in catalogue.all_specs() if spec.gradient and spec.name not in NOT_DERIVATIVES]


def operands(arrays: list[Array]) -> list[Operand]:
    return [Tracked(array.astype(MODEL.reference), MODEL) if array.dtype.kind == "f" else array for array in arrays]


def directional(spec: OperatorSpec, example: Description) -> tuple[float, float, float]:
    """(analytic, numeric, scale) derivative of sum(outputs * cotangents) along a random direction."""
    inputs = [
        array.astype(np.longdouble) if array.dtype.kind == "f" else array for array in make_inputs(example, "float64")
    ]
    generator = np.random.default_rng(5)
    attributes = example["attributes"]
    results = spec.oracle(operands(inputs), attributes)
    weights = [
        Tracked(generator.uniform(-1, 1, value_of(item).shape), MODEL) if isinstance(item, Tracked) else None
        for item in results
    ]
    assert spec.gradient is not None
    gradients = spec.gradient(operands(inputs), results, list(weights), attributes)
    direction = [  # an input whose gradient is not judged stays where it is
        generator.uniform(-1, 1, array.shape) if array.dtype.kind == "f" and gradient is not None else None
        for array, gradient in zip(inputs, gradients, strict=True)
    ]

    def value(step: float) -> np.longdouble:
        moved = [a if d is None else a + step * d for a, d in zip(inputs, direction, strict=True)]
        outputs = spec.oracle(operands(moved), attributes)
        return sum(
            (np.sum(value_of(out) * w.value) for out, w in zip(outputs, weights, strict=True) if w is not None),
            np.longdouble(0),
        )

    numeric = (value(STEP) - value(-STEP)) / (2 * STEP)
    terms = [
        value_of(gradient) * d
        for gradient, d in zip(gradients, direction, strict=True)
        if gradient is not None and d is not None
    ]
    analytic = sum((np.sum(term) for term in terms), np.longdouble(0))
    scale = sum((np.sum(np.abs(term)) for term in terms), np.longdouble(0))
    return float(analytic), float(numeric), float(scale)


@pytest.mark.parametrize("spec", DIFFERENTIABLE, ids=lambda spec: spec.name)
def test_gradient_is_the_derivative(spec: OperatorSpec) -> None:
    judged = 0
    for example in draw(spec, "float64", 8, 3):
        if any(item["regime"] in ("special", "masked", "ties") or 0 in item["shape"] for item in example["inputs"]):
            continue
        if example["attributes"].get("dtype", "float64") not in ("float64", "float32"):
            continue  # a cast to whole numbers has no derivative
        if max(int(np.prod(item["shape"])) for item in example["inputs"]) > 5000:
            continue
        analytic, numeric, scale = directional(spec, example)
        assert abs(analytic - numeric) <= 1e-6 * scale + 1e-9, example
        judged += 1
    assert judged >= 2


def test_a_wrong_gradient_is_seen() -> None:
    spec = catalogue.get("tanh")
    import dataclasses

    wrong = dataclasses.replace(spec, gradient=lambda x, out, d, a: [d[0] * (1.0 + out[0] * out[0])])
    analytic, numeric, scale = directional(wrong, draw(spec, "float64", 1, 3)[0])
    assert abs(analytic - numeric) > 1e-3 * scale
