"""The soak: heartbeats, drift, verdict, and a real one of seconds that is interrupted and goes on."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from adapter_conform.parallel.course import Course
from adapter_conform.parallel.strategies import Strategy
from adapter_conform.soak import heartbeat
from adapter_conform.soak.conduct import Plan, conduct
from adapter_conform.soak.drift import judge
from adapter_conform.soak.heartbeat import Beat
from adapter_conform.soak.verdict import verdict
from conform_harness import conform_command, conform_environment

GIB = float(1 << 30)


def beat(number: int, **fields: Any) -> Beat:
    plain = {
        "time": 1e9 + 10.0 * number,
        "elapsed_s": 10.0 * number,
        "step": 100 * number,
        "loss": 2.0,
        "step_s": 0.1,
        "device_bytes": 1 << 30,
        "host_bytes": 1 << 30,
        "handles": 20,
        "session": 1,
        "restarts": 0,
    }
    return Beat(**{**plain, **fields})


def test_beats_survive_the_file_and_a_torn_line_does_not(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.jsonl"
    beats = [beat(1), beat(2, loss=math.inf)]
    for one in beats:
        heartbeat.append(path, one)
    with path.open("ab") as file:
        file.write(b'{"time": 3, "el')
    assert list(heartbeat.read(path)) == beats
    assert all(json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]), "each line is JSON"


def test_a_line_that_is_no_heartbeat_is_named(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.jsonl"
    path.write_text('{"time": 1}\n')
    with pytest.raises(ValueError, match=r"heartbeat\.jsonl, line 1"):
        heartbeat.read(path)


def test_a_creeping_resource_is_seen_through_noise_and_outliers() -> None:
    draw = np.random.default_rng(5)
    seconds = np.arange(2000) * 10.0
    level = GIB + draw.normal(0, 4e6, seconds.size)
    level[draw.integers(0, seconds.size, 60)] *= 2
    assert judge("host_bytes", seconds.tolist(), level.tolist()).passed
    creeping = judge("host_bytes", seconds.tolist(), (level + seconds * 1e4).tolist())
    assert not creeping.passed
    assert creeping.slope == pytest.approx(1e4, rel=0.1)


def test_a_cache_that_fills_at_the_start_is_no_drift() -> None:
    seconds = np.arange(500.0)
    level = np.where(seconds < 40, GIB / 2, GIB)
    assert judge("device_bytes", seconds.tolist(), level.tolist()).passed


def test_one_handle_lost_an_hour_is_seen() -> None:
    seconds = np.arange(0, 86_400, 60.0)
    found = judge("handles", seconds.tolist(), (20 + seconds // 3600).tolist())
    assert not found.passed
    assert judge("handles", seconds.tolist(), (20 + seconds // 3600 % 2).tolist()).passed


def test_few_beats_are_not_judged() -> None:
    found = judge("handles", [0.0, 1.0, 2.0], [1.0, 10.0, 100.0])
    assert found.passed
    assert not found.judged
    assert judge("handles", [], []).passed


def test_gaps_lost_losses_and_restarts_are_counted() -> None:
    beats = [beat(number) for number in range(1, 60)]
    late = [beat(number, time=1e9 + 5000 + 10.0 * number, restarts=1) for number in range(60, 100)]
    found = verdict([*beats, *late, beat(100, time=1e9 + 6000, loss=math.nan, restarts=1)], wanted_s=900.0)
    assert found.complete
    assert [round(length) for _, length in found.gaps] == [5010]
    assert (found.restarts, found.lost, found.backwards) == (1, 1, 0)
    assert len(found.faults) == 2
    assert not verdict(beats, wanted_s=900.0).complete
    assert not verdict([], wanted_s=1.0).complete


class Ranks:
    """A course whose ranks need no device: what they were asked, and at which step they stand."""

    def __init__(self) -> None:
        self.crew: object | None = None
        self.step = self.saved = 0
        self.root, self.strategy = Path("checkpoints"), Strategy("one_card")

    def latest(self) -> None:
        return None

    def start(self, _checkpoint: object) -> None:
        self.crew = object()

    def ask(self, job: dict[str, Any], _limit: float) -> dict[int, dict[str, Any]]:
        self.step += job["count"]
        resources = {"device_bytes": 1, "host_bytes": 1, "handles": 1}
        return {0: {"step": self.step, "losses": [1.0], "seconds": 1.0, **resources}}

    def demand(self, answers: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        return answers

    def save(self) -> None:
        self.saved = self.step

    def end(self) -> None:
        self.crew = None


def test_told_to_stop_between_two_beats_it_saves_what_the_ranks_have_done(tmp_path: Path) -> None:
    ranks, path = Ranks(), tmp_path / "heartbeat.jsonl"
    early = conduct(
        cast(Course, ranks), Plan(60.0, 1.0, 600.0), path, lambda: len(heartbeat.read(path)) == 3, lambda _: None
    )
    assert early is not None
    assert "checkpoint was written" in early
    assert ranks.saved == ranks.step == 3
    assert ranks.crew is None, "the ranks were dismissed"


def run(*arguments: str) -> subprocess.Popen[str]:
    settings = ("--strategy", "one_card", "--beat", "0.2s", "--save", "1s")
    command = conform_command("soak", "--plugin", "refchip", *settings, *arguments)
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=conform_environment()
    )


@pytest.mark.device
@pytest.mark.slow
def test_a_soak_that_is_told_to_stop_saves_and_goes_on(tmp_path: Path) -> None:
    beats = tmp_path / "heartbeat.jsonl"
    first = run("--for", "1h", "--out", str(tmp_path))
    deadline = time.monotonic() + 200
    while len(heartbeat.read(beats)) < 3 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 3, said
    reached = heartbeat.read(beats)[-1]
    second = run("--for", f"{reached.elapsed_s + 1:.1f}s", "--out", str(tmp_path), "--resume")
    said, _ = second.communicate(timeout=240)
    assert second.returncode == 0, said
    after = [one for one in heartbeat.read(beats) if one.session == 2]
    assert after[0].step > reached.step, "the second session began where the first had left off"
    report = json.loads((tmp_path / "soak.json").read_text())
    assert (report["sessions"], report["restarts"], report["complete"]) == (2, 0, True)
    again = subprocess.run(
        conform_command("soak", "--plugin", "refchip", "--for", "1s", "--out", str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **conform_environment()},
        check=False,
    )
    assert again.returncode == 2
    assert "--resume" in again.stderr
