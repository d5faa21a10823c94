"""Waivers that hold, have expired, or cover nothing."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import pytest
from adapter_conform.cases import Record
from adapter_conform.errors import ConformError
from adapter_conform.states import State
from adapter_conform.waivers import WaiverBook, WaiverRule, read_waivers
from conform_harness import Conform

TODAY = datetime.date(2030, 6, 15)


def rule(expires: datetime.date = TODAY) -> WaiverRule:
    return WaiverRule("matmul", "float32", "known defect", "https://example.com/1", expires)


def record(state: State, operator: str = "matmul", dtype: str = "float32") -> Record:
    return Record(f"{operator}/{dtype}", "fake", operator, dtype, state, "fake:0", [], 0.0, "", "too large")


def test_failure_under_a_valid_waiver_is_waived_until_its_last_day() -> None:
    book = WaiverBook([rule(TODAY)], TODAY)
    waived = book.apply(record(State.FAILED))
    assert waived.state is State.WAIVED
    for words in ("known defect", "https://example.com/1", "2030-06-15", "too large"):
        assert words in waived.message


def test_expired_waiver_waives_nothing_and_is_named() -> None:
    book = WaiverBook([rule(TODAY - datetime.timedelta(days=1))], TODAY)
    failed = book.apply(record(State.FAILED))
    assert failed.state is State.FAILED
    assert "expired waiver" in failed.message


@pytest.mark.parametrize("state", [state for state in State if state is not State.FAILED])
def test_only_failures_are_waived(state: State) -> None:
    original = record(state)
    assert WaiverBook([rule()], TODAY).apply(original) is original


def test_waiver_is_for_one_operator_and_dtype() -> None:
    book = WaiverBook([rule()], TODAY)
    assert book.apply(record(State.FAILED, operator="add")).state is State.FAILED
    assert book.apply(record(State.FAILED, dtype="float16")).state is State.FAILED


def test_stale_only_when_everything_it_speaks_of_was_executed() -> None:
    book = WaiverBook([rule()], TODAY)
    assert book.stale([]) == []
    assert book.stale([record(State.PASSED, operator="add")]) == []
    assert book.stale([record(State.PASSED), record(State.NOT_RUN)]) == []
    assert book.stale([record(State.PASSED), record(State.PASSED)]) == [rule()]
    assert book.stale([record(State.PASSED), book.apply(record(State.FAILED))]) == [], "of use"
    assert book.stale([record(State.PASSED), record(State.FAILED)]) == [], "of use until it expired"


def test_waiver_without_a_field_or_with_a_bad_date_is_refused() -> None:
    whole = {"operator": "a", "dtype": "float32", "reason": "r", "link": "l", "expires": "2030-01-31"}
    assert read_waivers([SimpleNamespace(**whole)])[0].expires == datetime.date(2030, 1, 31)
    with pytest.raises(ConformError, match="YYYY-MM-DD"):
        read_waivers([SimpleNamespace(**{**whole, "expires": "next year"})])
    del whole["reason"]
    with pytest.raises(ConformError, match="reason"):
        read_waivers([SimpleNamespace(**whole)])


def test_run_with_waivers(conform: Conform) -> None:
    valid = conform("pass:3,fail,waive")
    assert valid.code == 0
    assert valid.states["fail"] == "waived"
    expired = conform("pass:3,fail,waive-expired")
    assert expired.code == 1
    assert expired.states["fail"] == "failed"
    stale = conform("pass:3,waive")
    assert stale.code == 1
    assert len(stale.summary["stale_waivers"]) == 1
    assert "covered no failure" in stale.stdout
    narrowed = conform("pass:3,fail,waive", "-k", "pass")
    assert narrowed.code == 0, "the failure that it admits lies outside of -k"
