"""Looks for the smallest example that still fails, in a worker of its own; a suite, so that a crash costs nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_conform import catalogue
from adapter_conform.cases import Case, Outcome
from adapter_conform.catalogue.spec import Description, OperatorSpec
from adapter_conform.catalogue.values import make_inputs
from adapter_conform.further import Further
from adapter_conform.judge import judge_call
from adapter_conform.repro.standalone import write_standalone
from adapter_conform.repro.transplant import TransplantError
from adapter_conform.states import State
from adapter_conform.suites.base import PlanRequest

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["SUITE", "candidates", "shrink", "size_of"]

SECONDS = 5.0
"""For the search; whatever has been found by then is reported."""

Payload = dict[str, Any]


def size_of(description: Description) -> int:
    """Elements of all inputs, and a little for every axis."""
    shapes = [item["shape"] for item in description["inputs"]]
    total: int = sum(math.prod(shape) + len(shape) for shape in shapes) + len(shapes)
    return total


def run_payload(session: Session, spec: OperatorSpec, dtype: str, payload: Payload) -> Outcome:
    """Judges the example of an operator case."""
    example = payload["example"]
    return judge_call(
        session,
        spec,
        make_inputs(example, dtype),
        example["attributes"],
        dtype=dtype,
        backward=payload["backward"],
        static=payload["static"],
        probe=bool(example.get("probe", False)),
        seed=int(example["seed"]),
        layout=str(example.get("layout", "plain")),
        further=Further.of(payload),
    )


def complaint(outcome: Outcome) -> str:
    """What went wrong, without figures: the first gate that was missed, or the class of the exception."""
    if outcome.state is not State.FAILED:
        return ""
    missed = [figure.gate for figure in outcome.errors if not figure.passed]
    return f"gate {missed[0]}" if missed else outcome.message.split(" from the call", 1)[0]


def shrink(session: Session, spec: OperatorSpec, dtype: str, payload: Payload) -> tuple[Payload, Outcome]:
    """The smallest payload found that fails in the same way, and its outcome.

    Raises:
        LookupError: the failure does not repeat.
    """
    outcome = run_payload(session, spec, dtype, payload)
    wanted = complaint(outcome)
    if not wanted:
        raise LookupError("the failure did not repeat when the case was run again")
    deadline = time.monotonic() + SECONDS
    smaller = True
    while smaller and time.monotonic() < deadline:
        smaller = False
        for candidate in candidates(spec, dtype, payload):
            if time.monotonic() >= deadline:
                break
            try:
                found = run_payload(session, spec, dtype, candidate)
            except Exception:  # a smaller example may not make sense to the operator: another one will
                continue
            if complaint(found) == wanted:
                payload, outcome, smaller = candidate, found, True
                break
    return payload, outcome


def candidates(spec: OperatorSpec, dtype: str, payload: Payload) -> Iterator[Payload]:
    """Simpler payloads, the most promising first: eager, plain, forward alone; smaller examples; shorter sides."""
    example = payload["example"]
    for key in ("static", "backward"):
        if payload[key]:
            yield {**payload, key: False}
    if example.get("layout", "plain") != "plain":
        yield {**payload, "example": {**example, "layout": "plain"}}
    here = size_of(example)
    known = [{**item, "seed": example["seed"]} for item in spec.corners(dtype) if size_of(item) < here]
    for item in sorted(known, key=size_of):
        yield {**payload, "example": {"layout": example.get("layout", "plain"), **item}}
    for item in _shorter(example):
        yield {**payload, "example": item}


def _shorter(example: Description) -> Iterator[Description]:
    """One length of a side, wherever it occurs, replaced by a smaller one; also where attributes repeat it."""
    sides = sorted({side for item in example["inputs"] for side in item["shape"] if side > 1}, reverse=True)
    for side in sides:
        for less in sorted({1, 2, side // 4, side // 2, side - 1} - {0, side}):
            inputs = [_with_side(item, side, less) for item in example["inputs"]]
            attributes = {key: _replaced(value, side, less) for key, value in example["attributes"].items()}
            yield {**example, "inputs": inputs, "attributes": attributes}
            if attributes != example["attributes"]:
                yield {**example, "inputs": inputs}


def _with_side(item: dict[str, Any], side: int, less: int) -> dict[str, Any]:
    changed = {**item, "shape": [less if length == side else length for length in item["shape"]]}
    for key in ("classes", "high"):
        if changed.get(key) == side:
            changed[key] = less
    return changed


def _replaced(value: Any, side: int, less: int) -> Any:
    if isinstance(value, list):
        return [_replaced(item, side, less) for item in value]
    return less if type(value) is int and value == side else value


class ShrinkSuite:
    """Runs one failed operator case again and again, smaller each time, and writes the file that shows it."""

    name = "shrink"

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        return []

    def run(self, case: Case, session: Session) -> Outcome:
        spec = catalogue.get(case.operator)
        try:
            payload, outcome = shrink(session, spec, case.dtype, case.payload["case"])
        except LookupError as error:
            return Outcome(State.NOT_RUN, message=str(error))
        path = Path(case.payload["file"])
        details: dict[str, Any] = {"example": payload["example"], "message": outcome.message}
        try:
            write_standalone(path, session, spec, case.dtype, payload, outcome, case.payload["id"])
            details["file"] = str(path)
        except TransplantError as error:
            details["no_file"] = str(error)
        return Outcome(State.PASSED, executed_on=session.device, details=details)


SUITE = ShrinkSuite()
