"""The sample judged on Paddle's own CPU kernels: right results pass, spoiled ones do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.paddle

HERE = Path(__file__).parent
# Paddle's log of API calls is how the CPU session of the catalogue's tests counts kernels.
CALL_LOG = {"GLOG_logtostderr": "1", "GLOG_vmodule": "*api*=6,data_transform=3"}
REAL_FILE = os.environ.get("ADAPTER_REPLAY_FILE")


def judged(path: Path, *options: str, timeout: float = 300) -> dict[str, list[str]]:
    """In a process of its own, since Paddle's device is one per process."""
    command = [sys.executable, str(HERE / "cpu_replay.py"), str(path), *options]
    with tempfile.TemporaryDirectory() as no_device:
        environment = {**os.environ, **CALL_LOG, "CUSTOM_DEVICE_ROOT": no_device}
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    states: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return states


def test_right_results_pass() -> None:
    states = judged(HERE / "sample_calls.txt")
    assert len(states) > 70
    assert {line: state for line, state in states.items() if state[0] != "passed"} == {}


def test_spoiled_results_fail() -> None:
    states = judged(HERE / "sample_calls.txt", "--spoil")
    assert len(states) > 70
    calls = (HERE / "sample_calls.txt").read_text().splitlines()
    unspoiled = [calls[int(line) - 1] for line, state in states.items() if state[0] != "failed"]
    assert unspoiled == ['paddle.Tensor.__mul__(Tensor([0],"float32"), 2.0, )'], "without elements nothing can be wrong"


@pytest.mark.slow
@pytest.mark.skipif(not REAL_FILE, reason="ADAPTER_REPLAY_FILE does not name a file of recorded calls")
def test_recorded_calls_pass() -> None:
    states = judged(Path(str(REAL_FILE)), timeout=900)
    assert len(states) >= 5000
    assert {line: state for line, state in states.items() if state[0] != "passed"} == {}
