"""The sample of recorded calls on the installed refchip, through the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from conform_harness import run_conform

pytestmark = pytest.mark.device

SAMPLE = Path(__file__).with_name("sample_calls.txt")


def test_recorded_calls_pass_on_the_device_with_proof(tmp_path: Path) -> None:
    run = run_conform(tmp_path / "out", "--plugin", "refchip", "--replay", str(SAMPLE))
    assert run.code == 0, run.stdout
    assert len(run.records) > 70
    unsupported = [record for record in run.records if record["state"] != "passed"]
    assert [record["message"] for record in unsupported] == ["API not in the catalogue: paddle.linalg.svd"]
    assert {record["executed_on"] for record in run.records if record["state"] == "passed"} == {"refchip:0"}
    left_out = {line for reason in run.summary["excluded"]["replay"]["reasons"].values() for line in reason["lines"]}
    planned = {int(record["id"].rsplit("/", 1)[1]) for record in run.records}
    assert not planned & left_out
    calls = {n for n, text in enumerate(SAMPLE.read_text().splitlines(), 1) if text and not text.startswith("#")}
    assert planned | left_out == calls, "every line is judged or listed"
