"""The oracles and their gradients against PyTorch in float64, where it is installed.

``ADAPTER_TORCH_PYTHON`` names an interpreter that has torch and NumPy; by default this one is tried.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapter_conform import catalogue
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.draw import draw, stress
from adapter_conform.catalogue.gates import Expected, expect
from adapter_conform.catalogue.precision import Arithmetic
from adapter_conform.catalogue.spec import Description, OperatorSpec
from adapter_conform.catalogue.values import make_inputs
from adapter_conform.certification.recorder import operators

PROGRAM = Path(__file__).with_name("torch_reference.py")
PYTHON = os.environ.get("ADAPTER_TORCH_PYTHON", sys.executable)
MODEL = Arithmetic("float64", "float64")
EXAMPLES = 5

UNSETTLED = {
    "abs": "ties",
    "max": "ties",
    "min": "ties",
    "fmax": "ties",
    "fmin": "ties",
    "pow": "zeros",
}
"""Where the two libraries give a kink another slope."""


def has_torch() -> bool:
    done = subprocess.run([PYTHON, "-c", "import torch, numpy"], capture_output=True, timeout=120, check=False)
    return done.returncode == 0


pytestmark = pytest.mark.skipif(not has_torch(), reason="no torch; name an interpreter in ADAPTER_TORCH_PYTHON")


def operands(arrays: list[Array]) -> list[Operand]:
    return [Tracked(item, MODEL) if item.dtype.kind == "f" else item for item in arrays]


def examples_of(spec: OperatorSpec) -> list[Description]:
    drawn = draw(spec, "float64", EXAMPLES, 5)
    drawn += stress(spec, "float64", drawn, 5, 1)
    left_out = {"special", "masked", UNSETTLED.get(spec.name, "")}
    return [
        item
        for item in drawn
        if not any(part["regime"] in left_out or 0 in part["shape"] for part in item["inputs"])
        and max([int(np.prod(part["shape"])) for part in item["inputs"]], default=0) <= 20_000
    ]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Operator -> disagreements, an empty list for none; all operators in one process of PyTorch."""
    known = json.loads(
        subprocess.run(
            [PYTHON, str(PROGRAM), operators.__file__, "--operators"], capture_output=True, check=True
        ).stdout
    )
    arrays: dict[str, Array] = {}
    index: list[dict[str, Any]] = []
    expected: list[dict[str, Expected]] = []
    for name in known:
        spec = catalogue.get(name)
        for example in examples_of(spec):
            number, attributes = len(index), example["attributes"]
            inputs = make_inputs(example, "float64")
            outputs = spec.oracle(operands(inputs), attributes)
            results = {f"out{i}": expect(item, "float64") for i, item in enumerate(outputs)}
            generator = np.random.default_rng(number)
            flowing = [generator.standard_normal(value_of(item).shape) for item in outputs] if spec.gradient else []
            if spec.gradient:
                tracked = [Tracked(item, MODEL) for item in flowing]
                gradients = spec.gradient(operands(inputs), outputs, tracked, attributes)
                results |= {
                    f"grad{i}": expect(item, "float64")
                    for i, item in enumerate(gradients)
                    if item is not None and inputs[i].dtype.kind == "f"
                }
            arrays |= {f"{number}/in{i}": item for i, item in enumerate(inputs)}
            arrays |= {f"{number}/d{i}": item for i, item in enumerate(flowing)}
            entry = {"operator": name, "attributes": attributes, "inputs": len(inputs), "cotangents": len(flowing)}
            index.append(entry)
            expected.append(results)
    path = tmp_path_factory.mktemp("torch") / "examples.npz"
    np.savez(path, index=json.dumps(index), **arrays)  # type: ignore[arg-type]
    done = subprocess.run(
        [PYTHON, str(PROGRAM), operators.__file__, str(path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[str]] = {name: [] for name in known}
    with np.load(f"{path}.out.npz") as results_of_torch:
        for number, (entry, results) in enumerate(zip(index, expected, strict=True)):
            for name, value in results.items():
                theirs = results_of_torch[f"{number}/{name}"]
                found[entry["operator"]] += disagreement(f"{name} of {entry}", value, theirs)
    assert len(index) > 150
    return found


def disagreement(what: str, ours: Expected, theirs: Array) -> list[str]:
    """PyTorch is a kernel in float64 like any other: each element has to lie within the limit of such a kernel."""
    if ours.value.shape != theirs.shape:
        return [f"{what}: shape {ours.value.shape}, PyTorch {theirs.shape}"]
    apart = np.abs(np.where(ours.value == theirs, 0.0, ours.value - theirs)).astype(np.float64)
    exact = 2.0**-53 * np.abs(theirs)  # one rounding of what is known in long double
    limit = exact if ours.limit is None else ours.limit.astype(np.float64)
    beyond = ~(apart <= limit)
    if not beyond.any():
        return []
    worst, most = apart[beyond].max(), limit[beyond].max()
    return [f"{what}: {int(beyond.sum())} of {beyond.size} elements, {worst:.3g} apart, limit {most:.3g}"]


@pytest.mark.parametrize("name", [spec.name for spec in catalogue.all_specs()])
def test_oracle_and_gradient_agree_with_pytorch(name: str, compared: dict[str, list[str]]) -> None:
    if name not in compared:
        pytest.skip("not among the operators that torch_reference.py knows")
    assert not compared[name], compared[name][0]
