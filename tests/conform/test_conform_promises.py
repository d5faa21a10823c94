"""The report's table of callbacks and promises, and its notices."""

from __future__ import annotations

from typing import Any

from adapter_conform.cases import Record
from adapter_conform.report.promises import PromiseRow, in_json, notices, promise_rows, sentence
from adapter_conform.runtime.slots import PROMISES, SLOTS
from adapter_conform.states import State


def record(check: str, state: State, **details: Any) -> Record:
    suite, operator, *_ = f"runtime/{check}".split("/")
    return Record(f"runtime/{check}", suite, operator, "any", state, "", [], 0.1, "", details=details)


SLOTS_GIVEN = {
    "filled": ["query_event", "set_device", "xccl_send", "xccl_get_comm_name"],
    "empty": ["device_memory_set"],
}


def rows(*records: Record) -> dict[str, PromiseRow]:
    return {row.name: row for row in promise_rows(records)}


def test_a_run_without_the_runtime_suite_says_nothing_of_the_contract() -> None:
    assert promise_rows([]) == []


def test_every_callback_and_promise_has_a_row_and_a_reason() -> None:
    found = rows(
        record("devices/interface", State.PASSED, slots=SLOTS_GIVEN, covers=["set_device", "device_memory_set"])
    )
    assert set(found) == {*SLOTS, *PROMISES, "xccl_send", "xccl_get_comm_name"}
    assert found["device_memory_set"].remark == "the plugin leaves it empty"
    assert found["profiler_initialize"].remark == "this Paddle has no such callback"
    assert found["xccl_send"].remark == "suite collectives"
    assert found["xccl_get_comm_name"].remark.startswith("not covered: ")
    assert (found["set_device"].shown, found["device_memory_set"].shown) == (True, False)
    assert found["query_event"].remark.startswith("not run: runtime/streams/")
    assert all(row.remark or row.cases for row in found.values())


def test_what_passed_is_shown_and_what_failed_is_broken() -> None:
    covers = ["query_event", "no fallback to the CPU"]
    passed = record("streams/event_query", State.PASSED, covers=covers)
    failed = record("streams/event_states", State.FAILED, covers=["query_event"])
    alone, both = rows(passed), rows(passed, failed)
    assert (alone["query_event"].shown, alone["query_event"].broken) == (True, False)
    assert (both["query_event"].shown, both["query_event"].broken) == (True, True)
    assert both["no fallback to the CPU"].cases == (("runtime/streams/event_query", State.PASSED),)
    told = {row["name"]: row for row in in_json(list(both.values()))}
    assert told["query_event"]["cases"] == ["runtime/streams/event_query", "runtime/streams/event_states"]
    assert sentence(list(both.values())).startswith(f"contract: 2 of {len(both)} callbacks and promises shown")


def test_notices_name_their_case() -> None:
    found = notices([record("streams/asynchrony", State.PASSED, notices=["streams are synchronous"])])
    assert [(notice.case_id, notice.text) for notice in found] == [
        ("runtime/streams/asynchrony", "streams are synchronous")
    ]
