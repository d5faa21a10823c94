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
COPIES = {
    'paddle.Tensor.__mul__(Tensor([3, 8],"float32"), 1.0, )',
    'paddle.Tensor.__truediv__(Tensor([3, 8],"float32"), 1, )',
}
"""Lines of the sample whose right result is a copy of their tensor, made by a kernel."""
NOTHING_TO_SEE = {
    'paddle.Tensor.__mul__(Tensor([0],"float32"), 2.0, )',  # no elements
    'paddle.Tensor.__setitem__(Tensor([2, 9],"int64"), tuple(0,slice(2,6,None),), Tensor([4],"int64"), )',
    'paddle.Tensor.__setitem__(Tensor([3, 3],"int32"), tuple(1,1,), 124, )',  # what is copied has been written to
}
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


def test_a_kernel_that_only_copies_passes_where_the_line_asks_for_a_copy_alone() -> None:
    states = judged(HERE / "sample_calls.txt", "--copy")
    calls = (HERE / "sample_calls.txt").read_text().splitlines()
    passed = {calls[int(line) - 1] for line, state in states.items() if state[0] == "passed"}
    assert passed - NOTHING_TO_SEE == COPIES
    failed = {calls[int(line) - 1] for line, state in states.items() if state[0] == "failed"}
    assert 'paddle.Tensor.__mul__(Tensor([4, 6],"float32"), -10000.0, )' in failed, "the same kernel, another factor"
    assert 'paddle.Tensor.__truediv__(Tensor([3, 3],"float32"), 8.0, )' in failed


@pytest.mark.slow
@pytest.mark.skipif(not REAL_FILE, reason="ADAPTER_REPLAY_FILE does not name a file of recorded calls")
def test_recorded_calls_pass() -> None:
    states = judged(Path(str(REAL_FILE)), timeout=900)
    assert len(states) >= 5000
    assert {line: state for line, state in states.items() if state[0] != "passed"} == {}
