"""Each planted fault is caught in every case in which it changed something, and in no other case.

Faults go into one kernel each of a few shared runs; the kernels beside them are the healthy control of the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conform_harness import Finished, run_conform

RunWithFaults = Callable[..., Finished]

pytestmark = [pytest.mark.device, pytest.mark.slow]

NUMBERS = {
    "zero_tile": ("softmax", "bound"),
    "last_element": ("matmul", "bound"),
    "swapped_lanes": ("tanh", "bound"),
    "sign": ("exp", "bound"),
    "nan_swallowed": ("abs", "exact"),
    "scale": ("sqrt", "bound"),
    "unwritten_tail": ("silu", "unwritten"),
    "bf16": ("sigmoid", "bound"),
    "stale": ("bmm", "bound"),
}
"""Fault in numbers -> the operator that gets it (float32), and the gate that has to see it."""

CALLS = {
    "throw": ("log", "planted exception"),
    "no_allocation": ("cos", "the kernel never allocated its output"),
    "out_of_bounds_write": ("tile", "the kernel wrote out of bounds: byte 0 behind an output"),
}
"""Fault in the call -> the operator that gets it, and what the record has to say."""

HEALTHY = ("relu", "maximum")
HANG_LIMIT = 8


def _expression(operators: list[str], examples: str) -> str:
    return f"({' or '.join(f'ops/{name}/float32/' for name in operators)}) and ({examples})"


def _plan(faults: dict[str, tuple[str, str]]) -> str:
    return ",".join(f"{fault}:{operator}/float32" for fault, (operator, _) in faults.items())


EXAMPLES = "eager-0 or eager-2 or eager-3 or eager-7 or eager-9 or static-0"
"""Of the standard profile: plain, odd, zero-size, large, drawn, and a static graph."""
NUMBERS_EXPRESSION = _expression([*(operator for operator, _ in NUMBERS.values()), *HEALTHY], EXAMPLES)


@pytest.fixture(scope="module")
def numbers(run_with_faults: RunWithFaults) -> Finished:
    return run_with_faults(_plan(NUMBERS), "--profile", "standard", "-k", NUMBERS_EXPRESSION)


@pytest.fixture(scope="module")
def calls(run_with_faults: RunWithFaults) -> Finished:
    """Deaths cost a worker each, so one case of each."""
    operators = [*(operator for operator, _ in CALLS.values()), *HEALTHY]
    deaths = "ops/sin/float32/eager-0 or ops/rsqrt/float32/eager-0"
    expression = f"({_expression(operators, 'eager or static')}) or {deaths}"
    plan = f"{_plan(CALLS)},segfault:sin/float32,hang:rsqrt/float32"
    return run_with_faults(plan, "--profile", "smoke", "--case-timeout", str(HANG_LIMIT), "-k", expression)


def _of(run: Finished, operator: str) -> list[dict[str, Any]]:
    return [record for record in run.records if record["operator"] == operator]


def _caught(run: Finished, fault: str, operator: str) -> list[dict[str, Any]]:
    """The failed records of ``operator``: as many as times that the fault changed something; the others passed."""
    records = _of(run, operator)
    failed = [record for record in records if record["state"] == "failed"]
    planted = run.logs.count(f"planted {fault} in {operator}/float32\n")
    assert planted > 0, "the fault never came into effect"
    assert len(failed) == planted, [(record["id"], record["state"]) for record in records]
    assert {record["state"] for record in records} <= {"failed", "passed"}
    return failed


@pytest.mark.parametrize("fault", NUMBERS)
def test_wrong_numbers_are_caught_wherever_they_are(numbers: Finished, fault: str) -> None:
    operator, gate = NUMBERS[fault]
    for record in _caught(numbers, fault, operator):
        figures = [figure["gate"] for figure in record["errors"] if not figure["passed"]]
        assert gate in figures, record["message"]
        assert record["message"].startswith("gate "), record["message"]
        assert "out0" in record["message"]


def test_a_swallowed_nan_is_caught_under_smoke(run_with_faults: RunWithFaults) -> None:
    operators = ["maximum", "minimum", "add", "multiply", "abs", "softmax"]
    plan = ",".join(f"nan_swallowed:{operator}/float32" for operator in operators)
    run = run_with_faults(plan, "--profile", "smoke", "-k", _expression(operators, "eager"))
    for operator in operators:
        _caught(run, "nan_swallowed", operator)


@pytest.mark.parametrize("fault", CALLS)
def test_broken_calls_are_caught_and_name_the_kernel(calls: Finished, fault: str) -> None:
    operator, words = CALLS[fault]
    failed = _caught(calls, fault, operator)
    assert any("/static-" in record["id"] for record in failed), "the static executor has to pass the message on too"
    for record in failed:
        assert f"refchip: kernel {operator} (float32): {words}" in record["message"]


def test_a_segfault_costs_one_case(calls: Finished) -> None:
    (record,) = _of(calls, "sin")
    assert record["state"] == "crashed"
    assert "SIGSEGV" in record["message"]
    assert "planted segfault in sin/float32" in record["details"]["log_tail"]


def test_a_hang_costs_one_case(calls: Finished) -> None:
    (record,) = _of(calls, "rsqrt")
    assert record["state"] == "hung"
    assert f"no answer within {HANG_LIMIT} s" in record["message"]
    assert record["seconds"] >= HANG_LIMIT


@pytest.mark.parametrize("group", ["numbers", "calls"])
def test_healthy_kernels_beside_faulty_ones_pass(group: str, request: pytest.FixtureRequest) -> None:
    run: Finished = request.getfixturevalue(group)
    healthy = [record for operator in HEALTHY for record in _of(run, operator)]
    assert len(healthy) >= len(HEALTHY) * 4
    assert {record["state"] for record in healthy} == {"passed"}
    assert all(record["executed_on"] == "refchip:0" for record in healthy)


@pytest.mark.parametrize("group", ["numbers", "calls"])
def test_the_run_goes_on_and_keeps_everything(group: str, request: pytest.FixtureRequest) -> None:
    run: Finished = request.getfixturevalue(group)
    assert run.code == 1
    assert run.summary["verdict"] == "not conformant"
    assert run.summary["planned"] == run.summary["executed"] == len(run.records)
    assert (run.out / "report.html").is_file()
    assert (run.out / "junit.xml").is_file()


def test_without_faults_the_same_cases_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("control") / "out"
    arguments = ["--plugin", "refchip", "--suite", "ops", "--profile", "standard", "-k", NUMBERS_EXPRESSION]
    run = run_conform(out, *arguments)
    assert run.summary["counts"]["passed"] == len(run.records), run.stdout
    assert run.code == 0


def test_a_tool_that_does_nothing_changes_no_state_but_the_verdict(run_with_faults: RunWithFaults) -> None:
    run = run_with_faults("", "--profile", "smoke", "-k", "ops/relu/float32")
    assert {record["state"] for record in run.records} == {"passed"}
    assert run.code == 3
    assert "ADAPTER_CONFORM_PRELOAD" in run.summary["suspicions"][0]


def test_a_tool_that_refuses_ends_the_run(run_with_faults: RunWithFaults) -> None:
    run = run_with_faults("no_such_fault:relu/float32", "--profile", "smoke", "-k", "ops/relu/float32")
    assert run.code == 3
    assert "adapter_conform_preload() returned 1" in run.stdout
    assert 'no fault is called "no_such_fault"' in run.logs
    assert {record["state"] for record in run.records} == {"not_run"}
