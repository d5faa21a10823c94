"""Crashes, hangs and interruptions cost one case; what was measured stays."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from conform_harness import FAKE, Conform, Finished, conform_command, conform_environment

EVERYTHING = (
    "pass:4,fail,raise,quit,crash,leave,hang,hang-in-c,orphan,unproven,contradiction,unsupported,no-json,"
    "planned-out,retire,slow"
)


def test_every_case_ends_in_its_one_state(conform: Conform) -> None:
    done = conform(EVERYTHING)
    assert done.states == {
        "pass": "passed",
        "fail": "failed",
        "raise": "failed",
        "quit": "failed",
        "crash": "crashed",
        "leave": "crashed",
        "hang": "hung",
        "hang-in-c": "hung",
        "orphan": "crashed",
        "unproven": "vacuous",
        "contradiction": "failed",
        "unsupported": "unsupported",
        "no-json": "failed",
        "planned-out": "not_run",
        "retire": "passed",
        "slow": "passed",
    }
    assert done.summary["planned"] == len(done.records) == len({record["id"] for record in done.records}) == 19
    assert sum(done.summary["counts"].values()) == 19
    assert done.summary["executed"] == 17
    assert done.code == 1


def test_crash_records_say_what_happened(conform: Conform) -> None:
    done = conform("crash,raise,hang")
    records = {record["id"].split("/")[-1].split(" ")[0]: record for record in done.records}
    assert "SIGSEGV" in records["crash"]["message"]
    assert "about to read address 0" in records["crash"]["details"]["log_tail"]
    assert "Segmentation fault" in records["crash"]["details"]["log_tail"]
    assert "_crash" in records["crash"]["details"]["log_tail"], "faulthandler names the Python function"
    assert "the kernel was not happy" in records["raise"]["message"]
    assert "_raise" in records["raise"]["details"]["trace"]
    assert "0.5 s" in records["hang"]["message"]
    assert "_hang" in records["hang"]["details"]["log_tail"], "the stack of the hang is in the log"
    assert (done.out / records["crash"]["details"]["log"]).is_file()


def test_a_worker_serves_many_cases_and_is_replaced_on_request(conform: Conform) -> None:
    pids = [record["details"]["pid"] for record in conform("retire,pass:4").records]
    assert len(set(pids)) == 2
    assert len(set(pids[1:])) == 1


def test_workers_share_the_work(conform: Conform) -> None:
    done = conform("slow:6", "--jobs", "2")
    assert len({record["details"]["pid"] for record in done.records}) == 2
    assert done.code == 0


def test_case_timeout_option_holds_for_cases_without_a_limit_of_their_own(conform: Conform) -> None:
    done = conform("slow,pass", "--case-timeout", "0.05")
    assert done.states == {"slow": "hung", "pass": "passed"}
    assert "--case-timeout 0.05" in done.records[0]["repro"]


def test_plugin_that_cannot_be_opened_is_inconclusive(conform: Conform) -> None:
    done = conform("start-raise,pass:3")
    assert done.code == 3
    assert "the card is in use by another process" in done.stdout
    assert done.summary["counts"]["not_run"] == 3
    assert all("in use" in record["message"] for record in done.records)


def test_workers_that_die_on_startup_end_the_run(conform: Conform) -> None:
    done = conform("start-crash,pass:3")
    assert done.code == 3
    assert "3 workers in a row" in done.stdout
    assert "SIGABRT" in done.stdout
    assert "the driver is unhappy" in done.stdout
    assert done.summary["counts"]["not_run"] == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_keeps_what_was_measured(tmp_path: Path, number: signal.Signals) -> None:
    done = _interrupted(tmp_path, "pass:2,slow:100", number)
    assert done.code == 3
    assert done.summary["verdict"] == "inconclusive"
    assert number.name in done.summary["stopped"]
    assert done.summary["planned"] == len(done.records) == 102
    assert done.summary["counts"]["passed"] >= 2
    assert done.summary["counts"]["passed"] + done.summary["counts"]["not_run"] == 102
    assert (done.out / "report.html").is_file()
    assert (done.out / "junit.xml").is_file()


def test_interrupt_does_not_hide_a_failure(tmp_path: Path) -> None:
    done = _interrupted(tmp_path, "pass,fail,slow:100", signal.SIGINT)
    assert done.code == 1
    assert done.summary["verdict"] == "not conformant"
    assert done.summary["counts"]["not_run"] > 0


def _interrupted(folder: Path, plugin: str, number: signal.Signals) -> Finished:
    out = folder / "out"
    process = subprocess.Popen(
        conform_command("--plugin", plugin, "--suite", FAKE, "--out", str(out)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=conform_environment(),
    )
    records = out / "results.jsonl"
    _wait_for(lambda: records.exists() and records.read_text().count("\n") >= 3)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    return Finished(process.returncode, stdout, stderr, out)


def test_two_runs_do_not_share_a_folder(conform: Conform, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = conform_command("--plugin", "pass,slow:100", "--suite", FAKE, "--out", str(out))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=conform_environment()) as first:
        _wait_for(lambda: (out / "results.jsonl").exists())
        second = conform("pass", out=out)
        first.send_signal(signal.SIGINT)
    assert second.code == 2
    assert "another run is still writing there" in second.stderr
    assert first.returncode == 3
    assert second.summary["planned"] == 101, "the first run's"
    assert not list(out.glob("results*.json*.*")), "nothing was moved aside"


def test_worker_leaves_when_the_supervisor_is_killed(
    conform: Conform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "pid"
    monkeypatch.setenv("FAKE_PID_FILE", str(note))
    done = conform("pass:3,kill-supervisor", "--jobs", "1")  # with two workers another case may be in flight
    assert done.code == -signal.SIGKILL
    worker = int(note.read_text())
    _wait_for(lambda: not _alive(worker))
    assert [record["state"] for record in done.records] == ["passed"] * 3, "written as they ended"


def _alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has reaped yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_worker_environment_turns_cpu_fallback_off_whatever_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from adapter_conform.supervisor.process import worker_environment

    monkeypatch.setenv("FLAGS_enable_api_kernel_fallback", "1")
    monkeypatch.setenv("GLOG_minloglevel", "0")
    env = worker_environment(jobs=2)
    assert env["FLAGS_enable_api_kernel_fallback"] == "0"
    assert env["GLOG_minloglevel"] == "0"
    assert int(env["OMP_NUM_THREADS"]) >= 1


@pytest.mark.parametrize("plan", ["large:4,slow:6", "slow:2,large:4", "large:2"])
def test_of_large_cases_one_runs_at_a_time(conform: Conform, plan: str) -> None:
    done = conform(plan, "--jobs", "3")
    assert done.code == 0, done.stdout + done.stderr
    assert set(done.states.values()) == {"passed"}
    spans = sorted(record["details"]["at_work"] for record in done.records if "large" in record["id"])
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
    small = {record["details"]["pid"] for record in done.records if "slow" in record["id"]}
    if plan.startswith("large:4"):
        assert len(small) > 1, "the small ones went on beside it"
