"""A run goes on after the supervisor was killed, and ends as if it had never been."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conform_harness import FAKE, Conform, Finished, conform_command, conform_environment

MIXED = "pass:40,slow:6,fail:2,crash,unproven,unsupported,planned-out,raise,retire"


def start(out: Path, plugin: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        conform_command("--plugin", plugin, "--suite", FAKE, "--out", str(out), *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=conform_environment(),
    )


def kill_after(process: subprocess.Popen[str], records: Path, number: int) -> None:
    """SIGKILL for the supervisor once ``number`` records are there."""
    deadline = time.monotonic() + 60
    while process.poll() is None and (not records.exists() or records.read_bytes().count(b"\n") < number):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a run of three cases that pass and one that fails; copy them before changing any."""
    out = tmp_path_factory.mktemp("ended") / "out"
    start(out, "pass:3,fail").communicate(timeout=60)
    return out


def essence(done: Finished) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and records without times, process numbers and the order in which cases ended."""
    summary = {k: v for k, v in done.summary.items() if k not in ("elapsed_s", "started", "sessions", "shards")}
    records = {}
    for record in done.records:
        schedule = {"seconds", "details"} | ({"message"} if record["state"] == "crashed" else set())
        kernels = record["details"].get("kernels")
        records[record["id"]] = {k: v for k, v in record.items() if k not in schedule} | {"kernels": kernels}
    assert len(records) == len(done.records), "no case has two records"
    return summary, records


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_a_random_moment_and_resumed_is_one_run(conform: Conform, tmp_path: Path, seed: int) -> None:
    whole = conform(MIXED, "--jobs", "2")
    out = tmp_path / "killed"
    rng = random.Random(seed)
    process = start(out, MIXED, "--jobs", "2")
    kill_after(process, out / "results.jsonl", rng.randrange(1, 52))
    assert not (out / "results.json").exists()
    before = (out / "results.jsonl").read_bytes().count(b"\n")
    resumed = conform("", "--resume", str(out), out=out)
    assert resumed.code == whole.code == 1, resumed.stderr
    assert essence(resumed) == essence(whole)
    assert f"resuming {out}: {before} of 54 cases have a record" in resumed.stdout
    assert resumed.summary["sessions"] == 2


def test_killed_again_and_again(conform: Conform, tmp_path: Path) -> None:
    whole = conform("pass:8,slow:6")
    out = tmp_path / "killed"
    process = start(out, "pass:8,slow:6", "--jobs", "2")
    for number in (4, 10):
        kill_after(process, out / "results.jsonl", number)
        process = subprocess.Popen(
            conform_command("--resume", str(out), "--jobs", "2"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=conform_environment(),
        )
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert essence(Finished(0, stdout, stderr, out)) == essence(whole)


def test_a_torn_last_line_is_dropped_and_its_case_runs_again(conform: Conform) -> None:
    done = conform("pass:5,fail")
    whole = essence(done)
    for name in ("results.jsonl", "journal.jsonl"):
        data = (done.out / name).read_bytes()
        (done.out / name).write_bytes(data[: -len(data.splitlines()[-1]) // 2])
    resumed = conform("", "--resume", str(done.out), out=done.out)
    assert resumed.code == 1
    assert essence(resumed) == whole
    assert "5 of 6 cases have a record; 1 are left" in resumed.stdout


def test_a_finished_run_is_only_reported_again(conform: Conform) -> None:
    done = conform("pass:5,table-ghost")
    assert done.code == 1, "Paddle lacks a kernel that the table calls registered"
    whole, records = essence(done), (done.out / "results.jsonl").read_bytes()
    for name in ("results.json", "report.html", "junit.xml"):
        (done.out / name).unlink()
    resumed = conform("", "--resume", str(done.out), out=done.out)
    assert resumed.code == 1, "what the workers said of the kernels is not forgotten"
    assert essence(resumed) == whole
    assert (done.out / "results.jsonl").read_bytes() == records
    assert (done.out / "report.html").is_file()


def test_what_a_time_budget_left_out_is_taken_up(conform: Conform, tmp_path: Path) -> None:
    out = tmp_path / "budget"
    first = conform("pass:2,slow:15", "--time-budget", "2", "--jobs", "1", out=out)
    assert first.code == 3
    assert first.summary["counts"]["not_run"] > 0
    assert first.summary["planned"] == 17
    elapsed = first.summary["elapsed_s"]
    assert "the time budget of 2 s (--time-budget) is used up" in first.stdout
    left = [record for record in first.records if record["state"] == "not_run"]
    assert all("time budget" in record["message"] for record in left)
    second = conform("", "--resume", str(out), "--jobs", "4", out=out)
    assert second.code == 0
    assert second.summary["counts"]["passed"] == len(second.records) == 17
    assert second.summary["elapsed_s"] > elapsed


def test_an_interrupted_run_is_taken_up(conform: Conform, tmp_path: Path) -> None:
    out = tmp_path / "interrupted"
    process = start(out, "pass:2,slow:8,planned-out")
    while not (out / "results.jsonl").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 3
    resumed = conform("", "--resume", str(out), out=out)
    assert resumed.summary["stopped"] is None
    assert resumed.summary["counts"]["passed"] == 10
    assert resumed.summary["counts"]["not_run"] == 1, "what the planner knew cannot be run"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seed": 7}, "the planned cases"),
        ({"versions": {"python": "2.7.18"}}, "python: 2.7.18 and 3."),
        ({"library_sha256": "0" * 64}, "plugin's library (sha256): 0000"),
        ({"digest": "0" * 64}, "the ids are the same, the inputs are not"),
        ({"plugin_name": "pass:4"}, "case 3 is 'fake/matmul/float32/fail [0]' and"),
        ({"format": 99}, "another version of adapter-conform"),
        ({"cases": 5}, "cannot be used"),
    ],
)
def test_resume_refuses_what_is_not_the_same_run(
    conform: Conform, ended: Path, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    out = shutil.copytree(ended, tmp_path / "out")
    manifest = out / "plan.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    before = (out / "results.jsonl").read_bytes()
    resumed = conform("", "--resume", str(out), out=out)
    assert resumed.code == 2, resumed.stdout
    assert complaint in resumed.stderr
    assert "Traceback" not in resumed.stderr
    assert (out / "results.jsonl").read_bytes() == before


def test_resume_refuses_a_plan_that_has_grown(conform: Conform, ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MORE", "unsupported")
    resumed = conform("", "--resume", str(ended))
    assert resumed.code == 2
    assert "the planned cases: 4 and 5 cases" in resumed.stderr


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"no json\n", "line 2 cannot be used"),
        (b'{"id": "a"}\n', "line 2 cannot be used"),
        (b"\xff\xfe\n", "line 2 cannot be used"),
    ],
)
def test_damaged_records_are_refused(
    conform: Conform, ended: Path, tmp_path: Path, line: bytes, complaint: str
) -> None:
    out = shutil.copytree(ended, tmp_path / "out")
    first, *rest = (out / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "results.jsonl").write_bytes(b"".join([first, line, *rest]))
    resumed = conform("", "--resume", str(out))
    assert resumed.code == 2
    assert complaint in resumed.stderr


def test_resume_says_what_is_wrong_with_the_folder(conform: Conform, ended: Path, tmp_path: Path) -> None:
    nowhere = conform("", "--resume", str(tmp_path / "nowhere"))
    assert (nowhere.code, "no such folder" in nowhere.stderr) == (2, True)
    (tmp_path / "empty").mkdir()
    empty = conform("", "--resume", str(tmp_path / "empty"))
    assert (empty.code, "holds no plan.json" in empty.stderr) == (2, True)
    beside = conform("", "--resume", str(ended), "--seed", "3")
    assert (beside.code, "--seed cannot be given with --resume" in beside.stderr) == (2, True)


def test_resume_waits_for_nobody(conform: Conform, tmp_path: Path) -> None:
    out = tmp_path / "busy"
    process = start(out, "slow:100")
    while not (out / "results.jsonl").exists():
        time.sleep(0.01)
    second = conform("", "--resume", str(out))
    process.kill()
    process.communicate(timeout=60)
    assert second.code == 2
    assert "another run is still writing there" in second.stderr
