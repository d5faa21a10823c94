"""`adapter-conform descend` names the operator in which a fault was planted, and nothing on a healthy device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conform_harness import conform_command, conform_environment

pytestmark = pytest.mark.device

SCRIPT = Path(__file__).with_name("model_step.py")


def descend(
    tmp_path: Path, *arguments: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    command = conform_command("descend", "--plugin", "refchip", "--out", str(tmp_path / "found"), *arguments)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env={**conform_environment(), **environment},
        cwd=tmp_path,
        check=False,
    )
    path = tmp_path / "found" / "descent.json"
    return done, json.loads(path.read_text()) if path.exists() else {}


def planted(tmp_path: Path, tool: Path, fault: str, *arguments: str) -> dict[str, Any]:
    environment = {"ADAPTER_CONFORM_PRELOAD": str(tool), "ADAPTER_FAULT": fault}
    done, story = descend(tmp_path, *arguments, **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, Any] = story["finding"]
    return found


def test_a_healthy_device_gives_no_finding(tmp_path: Path) -> None:
    done, story = descend(tmp_path, "--", str(SCRIPT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert story["examined"] >= 6 + 6, "six parameters take a step each"
    assert story["backward_examined"] >= 5
    assert story["finding"] is None
    assert any(reason.startswith("random") for reason in story["unexamined"])


@pytest.mark.parametrize(
    ("fault", "api", "operator"),
    [("zero_tile:softmax/float32", "softmax", "softmax"), ("sign:gelu/float32", "gelu", "gelu")],
)
def test_a_wrong_operator_is_named(tmp_path: Path, fault_tool: Path, fault: str, api: str, operator: str) -> None:
    """Everything before it is right, and what comes after is never blamed."""
    found = planted(tmp_path, fault_tool, fault, "--", str(SCRIPT))
    assert found["direction"] == "forward"
    assert f".{api}(" in found["call"]
    assert found["kernels"] == {f"{operator}/float32": 1}


def test_of_a_linear_layer_the_part_is_named(tmp_path: Path, fault_tool: Path) -> None:
    found = planted(tmp_path, fault_tool, "swapped_lanes:matmul/float32", "--", str(SCRIPT))
    assert "linear" in found["call"]
    assert found["parts"] == ["matmul"]


def test_a_wrong_gradient_is_named_with_a_repro_that_runs_alone(tmp_path: Path, fault_tool: Path) -> None:
    found = planted(tmp_path, fault_tool, "sign:layer_norm_grad/float32", "--", str(SCRIPT))
    assert found["direction"] == "backward"
    assert "layer_norm" in found["call"]
    assert list(found["kernels"]) == ["layer_norm_grad/float32"]
    done = subprocess.run([sys.executable, found["repro"]], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "largest error" in done.stdout


def test_a_wrong_step_of_the_optimizer_is_named(tmp_path: Path, fault_tool: Path) -> None:
    found = planted(tmp_path, fault_tool, "sign:adamw/float32", "--no-backward", "--", str(SCRIPT))
    assert found["call"].startswith("paddle._C_ops.adamw_(")
    assert found["kernels"] == {"adamw/float32": 1}


def test_a_device_that_dies_leaves_the_call_behind(tmp_path: Path, fault_tool: Path) -> None:
    environment = {"ADAPTER_CONFORM_PRELOAD": str(fault_tool), "ADAPTER_FAULT": "segfault:softmax/float32"}
    done, story = descend(tmp_path, "--", str(SCRIPT), **environment)
    assert done.returncode == 3, done.stdout
    assert "signal 11" in done.stdout
    assert ".softmax(" in story["last_started"]


@pytest.mark.slow
def test_a_model_of_the_workloads(tmp_path: Path, fault_tool: Path) -> None:
    pytest.importorskip("paddlenlp")
    found = planted(tmp_path, fault_tool, "scale:rsqrt/float32", "--workload", "llama_pretrain", "--no-backward")
    assert found["call"].startswith("paddle.rsqrt(")


def test_requests_that_cannot_be_met(tmp_path: Path) -> None:
    for arguments, says in (
        ((), "either --workload"),
        (("--workload", "gpt9"), "no workload 'gpt9'"),
        (("--", "there-is-none.py"), "no script"),
    ):
        done, _ = descend(tmp_path, *arguments)
        assert done.returncode == 2
        assert says in done.stderr
