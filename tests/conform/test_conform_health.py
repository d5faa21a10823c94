"""Sick devices are quarantined; workers that grew or ran out of memory are replaced; full disks lose nothing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from adapter_conform.cases import Outcome
from adapter_conform.durations import parse_duration
from adapter_conform.states import State
from adapter_conform.supervisor.health import Footprint, Limits, ran_out_of_memory
from conform_harness import FAKE, Conform, conform_command, conform_environment, run_conform
from hypothesis import given
from hypothesis import strategies as st
from test_conform_resume import essence


def test_a_sick_process_is_replaced_and_the_run_goes_on(conform: Conform) -> None:
    done = conform("sick,pass:4", "--jobs", "1")
    assert done.summary["counts"]["passed"] == 4
    assert done.summary["quarantined"] is False
    (what,) = done.summary["replacements"]
    assert "worker 1 found the device sick after case 'fake/matmul/float32/sick [0]': " in what
    assert "RuntimeError: the card does not answer" in what
    assert what in done.stdout
    assert len({record["details"]["pid"] for record in done.records if record["state"] == "passed"}) == 1


@pytest.mark.parametrize(
    ("kind", "words"), [("sick-for-good", "the card does not answer"), ("sick-and-crash", "died of SIGABRT")]
)
def test_a_sick_device_is_quarantined(
    conform: Conform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    card = tmp_path / "sick"
    monkeypatch.setenv("FAKE_SICK_FILE", str(card))
    done = conform(f"pass:2,{kind},pass-on:5", "--jobs", "1")
    assert done.code == 1, "the failure that was seen is not hidden"
    assert done.summary["quarantined"] is True
    assert done.summary["counts"]["not_run"] == 5
    for text in (done.summary["stopped"], done.stdout, done.records[-1]["message"]):
        assert "the device is in quarantine: 2 fresh processes in a row" in text
        assert words in text
    card.unlink()
    resumed = conform("", "--resume", str(done.out), out=done.out)
    assert resumed.summary["counts"]["not_run"] == 0, "a device that was reset is taken up again"
    assert resumed.summary["quarantined"] is False


def test_a_device_that_is_sick_from_the_start_is_inconclusive(
    conform: Conform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sick").write_text("")
    monkeypatch.setenv("FAKE_SICK_FILE", str(tmp_path / "sick"))
    done = conform("pass:3")
    assert done.code == 3
    assert done.summary["counts"]["not_run"] == 3
    assert "quarantine" in done.stdout


def test_a_worker_that_leaks_handles_is_replaced(conform: Conform) -> None:
    done = conform("pass,leak-handles:3,first-after", "--jobs", "1")
    assert done.code == 0, done.stdout
    assert len(done.summary["replacements"]) == 3
    assert "its open handles grew from" in done.summary["replacements"][0]


def test_a_worker_that_ran_out_of_memory_is_replaced(conform: Conform) -> None:
    done = conform("pass,no-memory,first-after", "--jobs", "1")
    assert done.states == {"pass": "passed", "no-memory": "failed", "first-after": "passed"}
    assert "ran out of memory" in done.summary["replacements"][0]


def test_limits_are_on_growth() -> None:
    limits = Limits(growth=100 << 20, handles=50)
    start = Footprint(resident=1 << 30, handles=20)
    assert limits.exceeded(start, Footprint((1 << 30) + (100 << 20), 70)) is None
    assert "from 1024 to 1125 MiB" in (limits.exceeded(start, Footprint((1 << 30) + (101 << 20), 20)) or "")
    assert "from 20 to 71" in (limits.exceeded(start, Footprint(1 << 20, 71)) or "")
    assert Footprint.from_json(start.to_json()) == start
    assert Limits.of_machine(64).growth >= 512 << 20
    assert Limits.of_machine(1).growth >= Limits.of_machine(4).growth


def test_footprint_sees_memory_and_handles() -> None:
    before = Footprint.of_this_process()
    block = b"x" * (64 << 20)
    handles = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]
    after = Footprint.of_this_process()
    for handle in handles:
        os.close(handle)
    assert len(block) == 64 << 20
    assert after.resident - before.resident >= 60 << 20
    assert after.handles - before.handles == 10


def test_only_failures_run_out_of_memory() -> None:
    assert ran_out_of_memory(Outcome(State.FAILED, message="MemoryError: 4 GiB wanted"))
    assert not ran_out_of_memory(Outcome(State.PASSED, message="no MemoryError came"))
    assert not ran_out_of_memory(Outcome(State.FAILED, message="gate bound on out0"))


@pytest.mark.parametrize("limit", [300, 6000, 25000])
def test_a_full_disk_loses_nothing_and_the_run_can_go_on(conform: Conform, tmp_path: Path, limit: int) -> None:
    """It strikes the plan, the records or the reports."""
    plugin, out = "pass:30,fail", tmp_path / "full"
    done = run_conform(out, "--plugin", plugin, "--suite", FAKE, largest_file=limit)
    assert done.code == 3, done.stdout + done.stderr
    assert "cannot write to" in done.stderr
    assert "Make room, then" in done.stderr
    assert "Traceback" not in done.stderr
    if limit < 2000:
        return  # not even the plan could be written
    kept = [json.loads(line) for line in (out / "results.jsonl").read_bytes().split(b"\n")[:-1]]
    resumed = conform("", "--resume", str(out), out=out)
    assert resumed.code == 1, resumed.stderr
    assert essence(resumed) == essence(conform(plugin, out=tmp_path / "whole"))
    records = {record["id"]: record for record in resumed.records}
    assert all(records[record["id"]] == record for record in kept), "what was measured is not measured again"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_that_cannot_be_printed_is_never_conformant(tmp_path: Path, stream: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            conform_command("--out", str(tmp_path / "out"), "--plugin", "pass:3", "--suite", FAKE),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full},
            text=True,
            timeout=60,
            env=conform_environment(),
            check=False,
        )
    summary = json.loads((tmp_path / "out" / "results.json").read_text())
    assert summary["verdict"] == "conformant", "the files are written all the same"
    assert done.returncode == (3 if stream == "stdout" else 0)
    if stream == "stdout":
        assert "cannot print" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("1h30m", 5400), ("2d", 172800), (".5m", 30)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(st.text(alphabet="0123456789.smhd -e", max_size=8))
def test_durations_are_read_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 < seconds < float("inf")


@pytest.mark.parametrize("text", ["", "0", "-3", "1e3", "nan", "inf", "1h30", "2 hours", "h"])
def test_malformed_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no stretch of time|lacks a unit|no time at all"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "nan"])
def test_malformed_budgets_are_usage_errors(conform: Conform, text: str) -> None:
    done = conform("pass", f"--time-budget={text}")
    assert done.code == 2
    assert "--time-budget" in done.stderr


@pytest.mark.device
def test_refchip_passes_its_probe(tmp_path: Path) -> None:
    program = tmp_path / "probe.py"
    program.write_text(
        "import os, sys\n"
        "from adapter_conform.session import open_session\n"
        "session = open_session('refchip', 0)\n"
        "session.check_health()\n"
        "class Liar:\n"
        "    def __getattr__(self, name): return getattr(session.paddle, name)\n"
        "    def to_tensor(self, *args, **kwargs): return session.paddle.to_tensor([0], place=session.device)\n"
        "import dataclasses\n"
        "try:\n"
        "    dataclasses.replace(session, paddle=Liar()).check_health()\n"
        "except RuntimeError as error:\n"
        "    print('sick:', error)\n"
        "sys.stdout.flush(); os._exit(0)\n"
    )
    done = subprocess.run(
        [*conform_command()[:1], str(program)],
        capture_output=True,
        text=True,
        timeout=120,
        env=conform_environment(),
        cwd=tmp_path,
        check=False,
    )
    assert "1024 of 1024 numbers came back from refchip:0 changed" in done.stdout, done.stderr
