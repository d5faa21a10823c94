"""Whether errors lean to one side: a sign test over many calls with fresh inputs.

A result that is rounded to nearest is as often too large as too small; truncation, and an accumulator that rounds
toward zero, stay within every limit of a single call and still ruin a training run. For each call and each result the
mean of (error / limit) over the elements is taken twice: upward, with the sign of the error, and outward, with the
error counted positive where it leads away from zero. Were errors symmetric, either mean would be positive in half of
the calls: the test rejects when so few of ``CALLS`` signs differ from the rest that a fair coin would do it with a
probability of at most ``FALSE_ALARM`` (exact binomial, two-sided; it assumes nothing of the distribution).

Two things may lean by right and are subtracted: errors that elementary functions and division are granted beyond one
rounding, and constants that the compute dtype cannot hold. Their share of the limit is the allowance. A lean below
``SMALLEST`` of the limit is not called one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.catalogue.bounds import Array, rounding_only
from adapter_conform.catalogue.gates import PROVING_SIZE, Expected
from adapter_conform.catalogue.spec import Description, Kind, OperatorSpec
from adapter_conform.catalogue.values import make_inputs
from adapter_conform.declarations import declared_kernels
from adapter_conform.execution import repeat
from adapter_conform.expectation import Expectation

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["CALLS", "FALSE_ALARM", "Lean", "bias_figures", "leans", "measures_bias"]

CALLS = 40
FALSE_ALARM = 1e-9
"""Of one test: one result of one operator, upward or outward."""
SMALLEST = 1 / 128


def measures_bias(spec: OperatorSpec) -> bool:
    """Copies and choices have no rounding errors, random numbers no exact value."""
    return spec.kind not in (Kind.EXACT, Kind.RANDOM)


def most_dissenters(calls: int) -> int:
    """The largest k with 2 P(at most k of ``calls`` fair coins show heads) <= FALSE_ALARM; -1 where there is none."""
    tail, k = 0.0, -1
    while 2 * (tail := tail + math.comb(calls, k + 1) / 2**calls) <= FALSE_ALARM:
        k += 1
    return k


@dataclass
class Lean:
    """Means over the calls so far of one result; allowances beside them."""

    upward: list[float] = field(default_factory=list)
    outward: list[float] = field(default_factory=list)
    allowances: list[float] = field(default_factory=list)

    def add(self, wide: Expected, narrow: Expected, actual: Array) -> None:
        """``narrow`` holds the limits without what may lean by right."""
        if wide.limit is None or narrow.limit is None or actual.shape != wide.value.shape:
            return
        value, limit = wide.value.astype(np.float64), wide.limit.astype(np.float64)
        judged = np.isfinite(value) & np.isfinite(limit) & (limit > 0) & (value != 0)
        judged &= np.isfinite(actual.astype(np.float64))  # overflow to infinity is the business of another gate
        if np.count_nonzero(judged) < PROVING_SIZE:
            return
        ratio = (actual.astype(wide.value.dtype) - wide.value).astype(np.float64)[judged] / limit[judged]
        self.upward.append(float(np.mean(ratio)))
        self.outward.append(float(np.mean(ratio * np.sign(value[judged]))))
        share = narrow.limit.astype(np.float64)[judged] / limit[judged]
        self.allowances.append(float(np.mean(1 - share)))


def leans(means: Sequence[float]) -> bool:
    """Whether the signs of ``means`` are those of a fair coin with a probability of at most FALSE_ALARM."""
    signs = np.sign(means)
    up, down = int(np.count_nonzero(signs > 0)), int(np.count_nonzero(signs < 0))
    return min(up, down) <= most_dissenters(up + down)


def bias_figures(session: Session, spec: OperatorSpec, example: Description, dtype: str) -> list[GateFigure]:
    """Runs ``example`` with ``CALLS`` seeds in eager mode, forward and backward, and tests every floating result.

    Raises:
        Exception: whatever Paddle, the SDK or the plugin raises.
    """
    found: dict[str, Lean] = {}
    for turn in range(CALLS):
        fresh = {**example, "seed": (int(example["seed"]) + 104_729 * turn) % 2**31}
        inputs = make_inputs(fresh, dtype)
        wide = _expectation(session, spec, inputs, fresh, dtype)
        with rounding_only():
            narrow = _expectation(session, spec, inputs, fresh, dtype)
        cotangents = wide.cotangents(int(fresh["seed"]), False) if spec.differentiable(dtype) else []
        (results,) = repeat(session, spec, inputs, fresh["attributes"], cotangents, 1)
        with rounding_only():
            limits = list(_named(narrow, cotangents))
        for (name, item), (_, limit), actual in zip(_named(wide, cotangents), limits, results, strict=False):
            if item is not None and limit is not None and actual is not None:
                found.setdefault(name, Lean()).add(item, limit, actual)
    return [figure for name, lean in found.items() for figure in _figures(name, lean)]


def _expectation(
    session: Session, spec: OperatorSpec, inputs: Sequence[Array], example: Description, dtype: str
) -> Expectation:
    attributes = example["attributes"]
    declared = declared_kernels(session.plugin)
    backward = spec.required_backward(attributes, dtype)
    return Expectation(spec, inputs, attributes, dtype, declared, spec.required(attributes, dtype), backward)


def _named(expectation: Expectation, cotangents: Sequence[Array | None]) -> Iterator[tuple[str, Expected | None]]:
    """In the order in which :func:`~adapter_conform.execution.repeat` gives results: gradients of floating inputs."""
    for index, item in enumerate(expectation.expected):
        yield f"out{index}", item
    if any(item is not None for item in cotangents):
        floating = [array.dtype.kind not in "iub" for array in expectation.inputs]
        for index, gradient in enumerate(expectation.gradients(cotangents)):
            if floating[index]:
                yield f"grad{index}", gradient


def _figures(name: str, lean: Lean) -> list[GateFigure]:
    allowance = max(float(np.mean(lean.allowances)) if lean.allowances else 0.0, SMALLEST)
    figures = []
    for way, means in (("upward", lean.upward), ("outward", lean.outward)):
        mean = abs(float(np.mean(means))) if means else 0.0
        value = mean if leans(means) else 0.0
        up = sum(item > 0 for item in means)
        note = f"errors lean {way} in {up} of {len(means)} calls, by {mean:.3g} of the limit on average"
        figures.append(GateFigure("bias", f"{name} {way}", value, allowance, value <= allowance, note))
    return figures
