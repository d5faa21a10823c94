"""The verdict over all combinations of states, and what the frame makes of a suite's claims."""

from __future__ import annotations

import math

import pytest
from adapter_conform.cases import GateFigure, Outcome, Record
from adapter_conform.states import EXIT_CODES, ExitCode, State, Verdict, decide
from adapter_conform.supervisor.records import strict
from hypothesis import given
from hypothesis import strategies as st

BAD = {State.FAILED, State.CRASHED, State.HUNG, State.FELL_BACK}
OPEN = {State.VACUOUS, State.NOT_RUN}

counts = st.dictionaries(st.sampled_from(State), st.integers(0, 3))


@given(counts)
def test_verdict_truth_table(counts: dict[State, int]) -> None:
    present = {state for state, number in counts.items() if number}
    if present & BAD:
        expected = Verdict.NOT_CONFORMANT
    elif State.PASSED in present and not present & OPEN:
        expected = Verdict.CONFORMANT
    else:
        expected = Verdict.INCONCLUSIVE
    assert decide(counts) is expected


@given(counts, st.sampled_from(State))
def test_one_more_case_that_did_not_pass_never_helps(counts: dict[State, int], state: State) -> None:
    order = [Verdict.CONFORMANT, Verdict.INCONCLUSIVE, Verdict.NOT_CONFORMANT]
    if state is State.PASSED:
        return
    more = {**counts, state: counts.get(state, 0) + 1}
    assert order.index(decide(more)) >= order.index(decide(counts))


@pytest.mark.parametrize(
    ("verdict", "code"), [(Verdict.CONFORMANT, 0), (Verdict.NOT_CONFORMANT, 1), (Verdict.INCONCLUSIVE, 3)]
)
def test_exit_codes(verdict: Verdict, code: int) -> None:
    assert EXIT_CODES[verdict] == code
    assert ExitCode.USAGE_ERROR == 2


def test_nothing_at_all_is_inconclusive() -> None:
    assert decide({}) is Verdict.INCONCLUSIVE
    assert decide({State.UNSUPPORTED: 9}) is Verdict.INCONCLUSIVE
    assert decide({State.WAIVED: 9}) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("value", "limit", "claimed", "state"),
    [
        (0.5, 1.0, True, State.PASSED),
        (1.0, 1.0, True, State.PASSED),
        (0.5, 1.0, False, State.FAILED),
        (1.5, 1.0, True, State.FAILED),
        (math.nan, 1.0, True, State.FAILED),
        (0.0, math.nan, True, State.FAILED),
    ],
)
def test_a_pass_that_its_figures_contradict_is_withdrawn(
    value: float, limit: float, claimed: bool, state: State
) -> None:
    outcome = Outcome(State.PASSED, "fake:0", [GateFigure("bound", "out0", value, limit, claimed)])
    assert strict(outcome).state is state


def test_a_pass_without_proof_is_vacuous() -> None:
    assert strict(Outcome(State.PASSED, "")).state is State.VACUOUS
    assert strict(Outcome(State.FAILED, "")).state is State.FAILED


@given(st.floats(), st.floats(), st.sampled_from(State))
def test_record_survives_json(value: float, limit: float, state: State) -> None:
    figure = GateFigure("bound", "out0", value, limit, passed=False)
    record = Record("a", "fake", "add", "float32", state, "", [figure], 0.5, "again", "why", {"k": 1})
    back = Record.from_json(record.to_json())
    assert repr(back) == repr(record)  # repr, since NaN is not equal to itself
