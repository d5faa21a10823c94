"""When a fault counts as caught, what is kept, and what the pages say. No Paddle, no device."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapter_conform.cases import GateFigure, Record
from adapter_conform.selftest.report import markdown
from adapter_conform.selftest.running import Result
from adapter_conform.selftest.store import Store
from adapter_conform.selftest.verdict import Control, FaultVerdict, Selftest, Sighting, control, sighting
from adapter_conform.states import State
from adapter_faults import named

LANES = named("swapped_lanes")
CASE = f"{LANES.cases}/eager-0"


def record(case_id: str = CASE, state: State = State.PASSED, gate: str = "", message: str = "") -> Record:
    errors = [GateFigure(gate, "out0", 2, 1, False)] if gate else []
    suite, operator, dtype, *_ = case_id.split("/")
    return Record(case_id, suite, operator, dtype, state, "", errors, 0.1, "", message)


def judged(*records: Record, planted: tuple[str, ...] = (CASE,), broken: str = "") -> Sighting:
    result = Result(list(records), {LANES.name: set(planted)}, {LANES.name: broken} if broken else {})
    return sighting(LANES, result)


def test_caught_by_the_gate_that_was_to_see_it() -> None:
    found = judged(record(state=State.FAILED, gate="bound"), record(f"{LANES.cases}/eager-1"))
    assert found == Sighting(effective=1, noticed=1, by={"bound": 1}, miss=None)


def test_another_gate_does_not_count() -> None:
    assert judged(record(state=State.FAILED, gate="form")).miss == "its cases failed for another reason: form"


def test_a_crash_does_not_count_for_wrong_numbers() -> None:
    assert judged(record(state=State.CRASHED)).miss == "its cases failed for another reason: crashed"


def test_a_failure_where_it_never_struck_does_not_count() -> None:
    found = judged(record(state=State.FAILED, gate="bound"), planted=())
    assert found.miss == "it never came into effect: no case of 1 (1 failed) has what it takes"


def test_a_failure_of_another_operator_does_not_count() -> None:
    other = record("ops/exp/float32/eager-0", State.FAILED, "bound")
    assert judged(record(), other).miss == "it came into effect in 1 cases, and all of them passed"


def test_a_kernel_without_cases_is_a_miss() -> None:
    assert judged(planted=()).miss == "no case of this kernel was planned"


def test_a_fault_that_breaks_down_is_a_miss() -> None:
    assert "broke down in it" in (judged(record(state=State.FAILED, gate="bound"), broken="it").miss or "")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("write_out_of_bounds", "refchip: kernel tile (float32): the kernel wrote out of bounds: byte 0"),
        ("nothing_at_all", "refchip: kernel isnan (float32): the kernel never allocated its output"),
    ],
)
def test_checks_of_the_sdk(fault: str, message: str) -> None:
    planted = named(fault)
    case = f"{planted.cases}/eager-0"
    result = Result([record(case, State.FAILED, message=message)], {fault: {case}})
    assert sighting(planted, result).miss is None
    result.records = [record(case, State.FAILED, message="something else")]
    assert sighting(planted, result).miss == "its cases failed for another reason: error"


def test_the_control_counts_what_was_executed() -> None:
    records = [record(), record("a/b/c/d", State.UNSUPPORTED), record("a/b/c/e", State.VACUOUS, message="why")]
    assert control(Result(records)) == Control(cases=2, alarms={"a/b/c/e": "vacuous: why"})


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, 3, "refchip", resume=False)
    store.keep_sighting("a", Sighting(2, 1, {"bound": 1}))
    store.keep_control("all", Control(5, {"x": "failed: y"}))
    again = Store(tmp_path, 3, "refchip", resume=True)
    assert again.sighting("a") == Sighting(2, 1, {"bound": 1})
    assert again.control("all") == Control(5, {"x": "failed: y"})
    assert again.sighting("b") is None
    assert Store(tmp_path, 3, "otherchip", resume=True).sighting("a") is None
    assert Store(tmp_path, 3, "refchip", resume=False).sighting("a") is None
    assert Store(tmp_path, 4, "refchip", resume=True).sighting("a") is None


def test_the_page_names_every_miss() -> None:
    caught = FaultVerdict(LANES, {0: Sighting(4, 4, {"bound": 4}), 1: Sighting(2, 1, {"bound": 1})})
    missed = FaultVerdict(named("race"), {0: Sighting(1, 0, {}, "all passed"), 1: Sighting(1, 1, {"probe": 1})})
    selftest = Selftest("refchip", [0, 1], [caught, missed], ("ops",), {0: Control(50), 1: Control(51)})
    page = markdown(selftest, "adapter-conform selftest --seeds 2")
    assert "1 of 2 faults caught with each of 2 seeds; 0 false alarms in 101 cases" in page
    assert "| 2 of 2 | 5 of 6 | bound |" in page
    assert "- race: seed 0: all passed" in page
    assert selftest.to_json()["caught"] == 1
