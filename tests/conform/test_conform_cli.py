"""Options, exit codes and bad input of the command line."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from adapter_conform.plan import default_jobs
from conform_harness import FAKE, Conform, conform_command, conform_environment, run_conform


@pytest.mark.parametrize(
    ("plugin", "code", "verdict"),
    [
        ("pass:3", 0, "conformant"),
        ("pass,unsupported", 0, "conformant"),
        ("pass,fail", 1, "not conformant"),
        ("pass,crash", 1, "not conformant"),
        ("pass,planned-out", 3, "inconclusive"),
        ("pass,unproven", 3, "inconclusive"),
        ("unsupported:4", 3, "inconclusive"),
        ("planned-out:2", 3, "inconclusive"),
        ("waive", 3, "inconclusive"),
    ],
)
def test_exit_code_and_verdict(conform: Conform, plugin: str, code: int, verdict: str) -> None:
    done = conform(plugin)
    assert (done.code, done.summary["verdict"]) == (code, verdict)
    assert done.summary["exit_code"] == code
    assert verdict in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--plugin NAME"),
        (["--plugin", "pass", "--suite", "trainning"], "Did you mean 'training'"),
        (["--plugin", "pass", "--suite", "no_such_module:SUITE"], "cannot be imported"),
        (["--plugin", "pass", "--suite", "fake_suite:NOT_A_SUITE"], "is not a suite"),
        (["--plugin", "pass", "--suite", "fake_suite:MISSING"], "is not a suite"),
        (["--plugin", "pass", "--suite", ":SUITE"], "package.module:OBJECT"),
        (["--plugin", "pass", "--suite", ","], "names no suite"),
        (["--plugin", "pass", "--suite", "replay"], "--replay FILE"),
        (["--plugin", "pass", "--suite", FAKE, "-k", "a and"], "column 6"),
        (["--plugin", "bad-plan", "--suite", FAKE], "line 7"),
        (["--plugin", "pass", "--suite", FAKE, "--jobs", "0"], "--jobs"),
        (["--plugin", "pass", "--suite", FAKE, "--case-timeout", "0"], "--case-timeout"),
        (["--plugin", "pass", "--suite", FAKE, "--case-timeout", "nan"], "no number of seconds"),
        (["--plugin", "pass", "--suite", FAKE, "--profile", "huge"], "--profile"),
        (["--plugin", "pass", "--replay", "no-such-file"], "no-such-file"),
        (["--plugin", "pass", "--nonsense"], "--nonsense"),
    ],
)
def test_usage_errors(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    done = subprocess.run(
        conform_command(*arguments),
        capture_output=True,
        text=True,
        env=conform_environment(),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing is written for a request that cannot be met"


def test_plugin_that_is_not_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        conform_command("--plugin", "no-such-plugin", "--suite", "training"),
        capture_output=True,
        text=True,
        env=conform_environment(),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert "no-such-plugin" in done.stderr


def test_out_is_a_file(conform: Conform, tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.write_text("mine")
    for out in (target, target / "below"):
        done = conform("pass", out=out)
        assert done.code == 2
        assert "is a file" in done.stderr or "Not a directory" in done.stderr
    assert target.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs a folder that is not writable")
def test_out_is_not_writable(conform: Conform, tmp_path: Path) -> None:
    out = Path("/proc/self/out") if os.geteuid() == 0 else tmp_path / "locked" / "out"
    if os.geteuid() != 0:
        out.parent.mkdir(mode=0o500)
    done = conform("pass", out=out)
    assert done.code == 2
    assert "cannot be written" in done.stderr
    assert "--out" in done.stderr


def test_results_of_an_older_run_are_kept(conform: Conform) -> None:
    texts = []
    for plugin in ("pass:2", "pass:1", "pass:3"):
        done = conform(plugin)
        assert ("kept as" in done.stdout) == bool(texts)
        texts.append((done.out / "results.jsonl").read_text())
    kept = {path.read_text() for path in done.out.glob("results.jsonl.*")}
    assert kept == set(texts[:2])
    assert len(done.records) == 3
    assert len(list(done.out.glob("logs.*"))) == 2


def test_k_narrows_the_run_and_the_report_says_so(conform: Conform) -> None:
    done = conform("pass:6,fail", "-k", "pass and not softmax")
    assert done.code == 0
    assert done.summary["planned"] == 4
    assert done.summary["selection"] == {"expression": "pass and not softmax", "available": 7}
    assert done.summary["scope"] == "narrowed"
    assert done.summary["narrowed_by"] == ["-k 'pass and not softmax'"]
    assert "pass:6,fail: conformant, on a part only: -k 'pass and not softmax'" in done.stdout
    assert "4 of 4 planned cases executed of 7 in these suites" in done.stdout
    assert "conformant, on a part only: -k &#39;pass and not softmax&#39;" in (done.out / "report.html").read_text()
    whole = conform("pass:6").summary
    assert (whole["scope"], whole["narrowed_by"]) == ("full", [])


def test_k_that_selects_nothing_is_inconclusive(conform: Conform) -> None:
    done = conform("pass:6", "-k", "fake/matmul/float32/past [0]".replace(" ", "-"))
    assert done.code == 3
    assert "selects none of 6" in done.stdout
    assert "fake/matmul/float32/pass [0]" in done.stdout, "the nearest id is shown"


def test_repro_reruns_one_case_alone(conform: Conform, tmp_path: Path) -> None:
    # Lines stand in the order in which the workers finished, so the case is looked up by its id.
    records = {r["id"]: r for r in conform("pass:3,fail:2,raise", "--seed", "7", "--profile", "smoke").records}
    repro = records["fake/matmul/float32/fail [0]"]["repro"]
    words = shlex.split(repro)
    assert words[0] == "adapter-conform"
    done = subprocess.run(
        conform_command(*words[1:], "--out", "again"),
        capture_output=True,
        text=True,
        env=conform_environment(),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    again = (tmp_path / "again" / "results.jsonl").read_text().splitlines()
    assert len(again) == 1
    assert '"id":"fake/matmul/float32/fail [0]"' in again[0]


def test_list_prints_ids_and_runs_nothing(conform: Conform) -> None:
    done = conform("pass:2,planned-out", "--list")
    assert done.code == 0
    assert done.stdout.splitlines() == [
        "fake/matmul/float32/pass [0]",
        "fake/softmax/float32/pass [1]",
        "fake/matmul/float32/planned-out [0]\tnot run: torch is not installed",
    ]
    assert not done.out.exists()


def test_help_tells_exit_codes_and_examples() -> None:
    done = subprocess.run(
        conform_command("--help"), capture_output=True, text=True, env=conform_environment(), check=False
    )
    assert done.returncode == 0
    for words in ("Exit codes:", "3  inconclusive", "Examples:", "--replay", "results.jsonl"):
        assert words in done.stdout


def test_jobs_default_to_the_cpus_but_at_most_four(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, jobs in ((1, 1), (3, 3), (4, 4), (64, 4)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cpus=cpus: set(range(cpus)), raising=False)
        assert default_jobs() == jobs
    done = subprocess.run(
        conform_command("--help"), capture_output=True, text=True, env=conform_environment(), check=False
    )
    assert "number of CPUs, at most 4" in " ".join(done.stdout.split())


def test_failures_of_one_kind_are_printed_once(conform: Conform) -> None:
    done = conform("fail:7,raise")
    assert done.stdout.count("failed fake/matmul") == 1
    assert "3 other cases of matmul float32 failed too" in done.stdout
    assert done.stdout.count("rerun: ") == 3, "one of matmul, softmax and add"


def test_suites_with_sessions_of_their_own_run_alone(conform: Conform, tmp_path: Path) -> None:
    (tmp_path / "plain_suite.py").write_text(
        "class Plain:\n    name = 'plain'\n    def plan(self, request): return []\n"
        "    def run(self, case, session): ...\nSUITE = Plain()\n"
    )
    done = conform("pass", suite=f"{FAKE},plain_suite:SUITE")
    assert done.code == 2
    assert "a run of its own" in done.stderr


def test_two_cases_of_one_id_are_refused(conform: Conform) -> None:
    done = conform("pass,pass")
    assert done.code == 3
    assert "ids must be unique" in done.stdout


def test_a_full_disk_is_named_and_what_ran_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run_conform(out, "--plugin", "pass:60", "--suite", FAKE, largest_file=4096)
    assert done.code == 3, done.stdout + done.stderr
    assert "cannot write to" in done.stderr
    assert "File too large" in done.stderr
    assert str(out / "results.jsonl") in done.stderr
    assert "Traceback" not in done.stderr
    assert (out / "results.jsonl").read_text()
