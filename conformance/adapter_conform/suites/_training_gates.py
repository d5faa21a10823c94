"""Acceptance rules that cases of whole-model training share, and how their figures become a state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapter_conform.cases import GateFigure, Outcome
from adapter_conform.states import State

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["count_gate", "judge", "relative_errors"]

_NAMED = 8
"""Offenders named in a message; all are counted."""


def relative_errors(reference: Sequence[float], measured: Sequence[float]) -> list[float]:
    """Relative error of each loss; infinite where one of the two is not finite or the reference is zero.

    Raises:
        ValueError: the two differ in length.
    """
    errors = []
    for wanted, got in zip(reference, measured, strict=True):
        usable = math.isfinite(wanted) and math.isfinite(got) and wanted != 0.0
        errors.append(abs(got - wanted) / abs(wanted) if usable else math.inf)
    return errors


def count_gate(gate: str, output: str, offenders: Sequence[str]) -> GateFigure:
    """Passes where there is no offender."""
    note = "; ".join(offenders[:_NAMED])
    if len(offenders) > _NAMED:
        note += f"; and {len(offenders) - _NAMED} more"
    return GateFigure(gate, output, float(len(offenders)), 0.0, not offenders, note)


def judge(session: Session, gates: list[GateFigure], details: Mapping[str, Any], numbers: int = 1) -> Outcome:
    """The first ``numbers`` gates are about results; the others are proof of where and how the work was done."""
    results, proofs = gates[:numbers], gates[numbers:]
    unproved = [gate for gate in proofs if not gate.passed]
    wrong = [gate for gate in results if not gate.passed]
    faults = [f"{gate.gate} {gate.value:.3g}, limit {gate.limit:.3g}; {gate.note}" for gate in wrong]
    faults += [f"{gate.gate}: {gate.note}" for gate in unproved]
    state = State.FAILED if wrong else State.FELL_BACK if unproved else State.PASSED
    executed_on = "" if unproved else session.device
    return Outcome(state, executed_on, gates, "\n".join(faults), dict(details))
