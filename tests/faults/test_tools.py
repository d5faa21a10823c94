"""Tools around the kernels of a whole run: what they do shows, and a run with one is never called conformant."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapter_conform.supervisor.preload import PRELOAD_VARIABLE
from conform_harness import Finished, run_conform

pytestmark = [pytest.mark.device, pytest.mark.slow]

PYTHON_TOOL = "adapter_faults:plant"


def _run(out: Path, cases: str, tool: str, **environment: str) -> Finished:
    arguments = ["--plugin", "refchip", "--suite", "ops", "--profile", "smoke", "-k", cases]
    return run_conform(out, *arguments, **{PRELOAD_VARIABLE: tool, **environment})


def test_a_compiled_tool_throws_inside_a_kernel(fault_library: Path, tmp_path: Path) -> None:
    run = _run(tmp_path / "out", "ops/log/float32/", str(fault_library), ADAPTER_FAULT="throw:log/float32")
    assert {record["id"].rsplit("/", 1)[-1] for record in run.records} >= {"eager-0", "static-0"}
    for record in run.records:
        assert record["state"] == "failed"
        assert "refchip: kernel log (float32): planted exception" in record["message"]
    assert run.code == 1


def test_a_tool_that_does_nothing_changes_no_state_but_the_verdict(tmp_path: Path) -> None:
    run = _run(tmp_path / "out", "ops/relu/float32", PYTHON_TOOL, ADAPTER_FAULT="")
    assert {record["state"] for record in run.records} == {"passed"}
    assert run.code == 3
    assert "ADAPTER_CONFORM_PRELOAD" in run.summary["suspicions"][0]


def test_a_tool_that_refuses_ends_the_run(tmp_path: Path) -> None:
    run = _run(tmp_path / "out", "ops/relu/float32", PYTHON_TOOL, ADAPTER_FAULT="swaped_lanes")
    assert run.code == 3
    assert "no fault is called 'swaped_lanes'" in run.stdout
    assert "did you mean swapped_lanes" in run.stdout
    assert {record["state"] for record in run.records} == {"not_run"}
