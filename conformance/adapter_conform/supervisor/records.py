"""Turns what came of a planned case into its record. What a suite claims is checked once more: doubt never passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from adapter_conform.cases import Outcome, Record
from adapter_conform.plan import PlannedCase
from adapter_conform.states import State

__all__ = ["PENDING", "Sink", "is_pending", "put_off", "record_of", "strict"]

PENDING = "pending"
"""In ``details`` of a case that was planned and not run because the run ended first; a resumed run takes it up."""

Sink = Callable[[PlannedCase, Record], None]
"""Takes each record as it comes."""


def strict(outcome: Outcome) -> Outcome:
    """``outcome``, with a claim to have passed withdrawn where its own figures or its lack of proof contradict it."""
    if outcome.state is not State.PASSED:
        return outcome
    # NaN compares false, so a figure that is not a number is outside its limit.
    outside = [figure for figure in outcome.errors if not (figure.passed and figure.value <= figure.limit)]
    if outside:
        gates = ", ".join(f"{figure.gate} on {figure.output}" for figure in outside)
        return replace(outcome, state=State.FAILED, message=_join(outcome.message, f"outside its gate: {gates}"))
    if not outcome.executed_on:
        why = "the suite gave no proof of where the work ran (executed_on is empty)"
        return replace(outcome, state=State.VACUOUS, message=_join(outcome.message, why))
    return outcome


def put_off(message: str) -> Outcome:
    """The outcome of a case that this session of the run does not come to."""
    return Outcome(State.NOT_RUN, message=message, details={PENDING: True})


def is_pending(record: Record) -> bool:
    return record.state is State.NOT_RUN and record.details.get(PENDING) is True


def record_of(planned: PlannedCase, outcome: Outcome, seconds: float) -> Record:
    case = planned.case
    return Record(
        id=case.id,
        suite=case.suite,
        operator=case.operator,
        dtype=case.dtype,
        state=outcome.state,
        executed_on=outcome.executed_on,
        errors=outcome.errors,
        seconds=round(seconds, 6),
        repro=planned.repro,
        message=outcome.message,
        details=outcome.details,
    )


def _join(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
