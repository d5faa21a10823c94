"""Writes a failing call as a Python file that needs Paddle, the plugin and NumPy alone."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from adapter_conform.cases import Outcome
from adapter_conform.catalogue.bounds import Array
from adapter_conform.catalogue.gates import Expected, overflow
from adapter_conform.catalogue.spec import OperatorSpec
from adapter_conform.catalogue.values import make_inputs
from adapter_conform.declarations import declared_kernels
from adapter_conform.expectation import Expectation
from adapter_conform.repro.transplant import TransplantError, transplant

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["write_standalone"]

TEMPLATE = Path(__file__).with_name("standalone.txt")
LITERAL_SIZE = 64
"""Elements that are written as numbers; larger arrays are packed."""


def write_standalone(
    path: Path,
    session: Session,
    spec: OperatorSpec,
    dtype: str,
    payload: dict[str, Any],
    outcome: Outcome,
    case_id: str,
) -> None:
    """Writes ``path``.

    Raises:
        adapter_conform.repro.transplant.TransplantError: the entry's call cannot be written down.
    """
    for name in ("streams", "threads", "leak"):
        if payload.get(name):
            raise TransplantError(f"the file makes one call after the other, and gate {name} is about more than that")
    example = payload["example"]
    attributes = example["attributes"]
    inputs = make_inputs(example, dtype)
    backward = payload["backward"] and spec.differentiable(dtype)
    expectation = Expectation(
        spec,
        inputs,
        attributes,
        dtype,
        declared_kernels(session.plugin),
        spec.required(attributes, dtype, payload["static"]),
        spec.required_backward(attributes, dtype),
    )
    cotangents = expectation.cotangents(int(example["seed"]), bool(example.get("probe"))) if backward else []
    expected: dict[str, Expected | None] = {f"out{i}": item for i, item in enumerate(expectation.expected)}
    if any(item is not None for item in cotangents):
        expected |= {f"grad{i}": item for i, item in enumerate(expectation.gradients(cotangents))}
    call = transplant(spec.call, "call")
    values = {
        "TITLE": f"{case_id}: {outcome.message}".replace("\\", "/").replace('"""', "'''"),
        "DEVICE": json.dumps(session.device),
        "STATIC": repr(bool(payload["static"])),
        "CALLS": repr(payload["repeats"] + 1),
        "LAYOUT": json.dumps(example.get("layout", "plain")),
        "MUTATES": repr(tuple(spec.mutates)),
        "CALL": call,
        "ATTRIBUTES": repr(dict(attributes)),
        "INPUTS": _listing([_array(item) for item in inputs]),
        "COTANGENTS": _listing([None if item is None else _array(item) for item in cotangents]),
        "EXPECTED": _mapping({name: _limits(item) for name, item in expected.items() if item is not None}),
    }
    text = TEMPLATE.read_text("utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _array(array: Array) -> str:
    """An expression for the array; bfloat16 as its bits."""
    if array.dtype == ml_dtypes.bfloat16:
        return f"bits({_plain(array.view(np.uint16))})"
    return _plain(array)


def _plain(array: Array) -> str:
    if array.size <= LITERAL_SIZE:
        return f"np.array({array.reshape(-1).tolist()!r}, {array.dtype.name!r}).reshape({list(array.shape)})"
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
    packed = base64.b64encode(zlib.compress(buffer.getvalue(), 9)).decode()
    return f'unpacked("{packed}")'


def _limits(expected: Expected) -> str:
    """``(values, limits or None, dtype)``; the limit is infinite where infinity is as right as a finite number."""
    wide = expected.value.dtype.kind in "fV"
    value = expected.value.astype(np.float64) if wide else expected.value
    if expected.limit is None:
        return f"({_plain(value)}, None, {expected.dtype!r})"
    limit = np.where(overflow(expected), np.inf, expected.limit).astype(np.float64)
    return f"({_plain(value)}, {_plain(limit)}, {expected.dtype!r})"


def _listing(items: list[str | None]) -> str:
    return "[" + "".join(f"\n    {item}," for item in items) + ("\n]" if items else "]")


def _mapping(items: dict[str, str]) -> str:
    return "{" + "".join(f"\n    {name!r}: {item}," for name, item in items.items()) + "\n}"
