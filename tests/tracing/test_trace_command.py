"""`adapter-conform trace` around real programs, on the CPU and on refchip, eager and static."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from adapter_conform.tracing.record import Trace, read_trace
from conform_harness import conform_command, conform_environment

HERE = Path(__file__).parent


def conform(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        conform_command(*arguments),
        capture_output=True,
        text=True,
        timeout=300,
        env=conform_environment(),
        cwd=tmp_path,
        check=False,
    )


def traced(tmp_path: Path, program: str, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Trace]:
    out = tmp_path / "program.trace"
    done = conform(tmp_path, "trace", "--out", str(out), "--", sys.executable, str(HERE / program), *arguments)
    return done, read_trace(out)


def calls(trace: Trace, **wanted: Any) -> dict[str, int]:
    """``operator/dtype`` -> calls, of the kernels that have all of ``wanted``."""
    found: dict[str, int] = {}
    for use, amount in trace.kernels.items():
        if all(getattr(use, name) == value for name, value in wanted.items()):
            key = f"{use.operator}/{use.dtype}"
            found[key] = found.get(key, 0) + amount.calls
    return found


@pytest.mark.paddle
@pytest.mark.parametrize("device", ["cpu", pytest.param("refchip", marks=pytest.mark.device)])
@pytest.mark.parametrize("mode", ["eager", "static"])
def test_a_training_program(tmp_path: Path, device: str, mode: str) -> None:
    """Three steps of two linear layers: every number follows from the program."""
    done, trace = traced(tmp_path, "small_training.py", device, mode, "7")
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("loss ")
    assert len(done.stdout.splitlines()) == 1
    assert "a word on standard error" in done.stderr
    assert "API kernel key" not in done.stderr
    layers = calls(trace, phase="forward", mode=mode, backend=device)
    assert layers["matmul/float32"] == 6
    assert layers["gelu/float32"] == 3
    backward = calls(trace, phase="backward", mode=mode, backend=device)
    assert backward["matmul_grad/float32"] == 6
    assert calls(trace, phase="optimizer", mode="eager", backend=device)["adamw/float32"] == 12
    assert not [use for use in trace.kernels if use.fell_back]
    assert {use.shapes for use in trace.kernels if use.operator == "matmul"} == {((5, 8), (8, 16)), ((5, 16), (16, 4))}
    matmuls = [amount for use, amount in trace.kernels.items() if use.operator == "matmul"]
    assert all(amount.timed == amount.calls and amount.seconds > 0 for amount in matmuls)
    if mode == "static":
        gelu = next(use for use in trace.kernels if use.operator == "gelu")
        assert "approximate:false" in gelu.attributes
    assert any(text.startswith("paddle.nn.functional.cross_entropy(Tensor([5, 4]") for text in trace.calls)


@pytest.mark.device
@pytest.mark.parametrize("mode", ["eager", "static"])
def test_a_real_fallback_stands_out(tmp_path: Path, mode: str) -> None:
    done, trace = traced(tmp_path, "moved_to_host.py", mode)
    assert done.returncode == 0, done.stderr
    moved = {use.operator: use for use in trace.kernels if use.fell_back}
    assert moved["diag"].backend == "cpu"
    assert moved["diag"].wanted == "refchip"
    assert ("scale" in moved) == (mode == "static"), "in a static program what follows is pulled along"
    assert "FELL BACK to another device: " in done.stderr
    assert "diag/float32 (1)" in done.stderr
    plan = conform(tmp_path, "plan", "--plugin", "refchip", "--workload", "program.trace", "--json", "-")
    assert plan.returncode == 1, plan.stderr
    lacking = [row for row in json.loads(plan.stdout)["rows"] if row["outcome"] != "present"]
    assert [(row["operator"], row["outcome"]) for row in lacking] == [("diag", "falls back")]


def test_exit_statuses_pass_through(tmp_path: Path) -> None:
    assert conform(tmp_path, "trace", "--", "sh", "-c", "exit 5").returncode == 5
    assert conform(tmp_path, "trace", "--", "sh", "-c", "kill -9 $$").returncode == 137
    nothing = conform(tmp_path, "trace", "--", "true")
    assert nothing.returncode == 3
    assert "No kernel of Paddle was seen" in nothing.stderr
    assert conform(tmp_path, "trace", "--", "there-is-no-such-program").returncode == 2
    assert conform(tmp_path, "trace", "--out", "no/folder/t", "--", "true").returncode != 0


def test_a_program_whose_words_nobody_reads_ends_all_the_same(tmp_path: Path) -> None:
    command = " ".join(conform_command("trace", "--", "seq", "200000"))
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -2"],
        capture_output=True,
        text=True,
        timeout=60,
        env=conform_environment(),
        cwd=tmp_path,
        check=False,
    )
    assert done.stdout.split() == ["1", "2"]
    assert "the program ended with 0" in done.stderr
