"""Certification on refchip: a healthy device passes, and a training stack with a fault does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from adapter_conform.certification.packs import builtin
from conform_harness import conform_command, conform_environment
from training_faults import ON_ONE_CARD

pytestmark = pytest.mark.device

ROUNDS = Path(__file__).with_name("fault_rounds.py")


def rounds(tmp_path: Path, recipe: str, *faults: str, cards: int = 1) -> dict[str, tuple[str, list[str]]]:
    """Fault -> state and failed gates, all in one process."""
    done = subprocess.run(
        [sys.executable, str(ROUNDS), str(builtin("sample")), recipe, "sample", "0", *faults, "--cards", str(cards)],
        capture_output=True,
        text=True,
        timeout=500,
        env=conform_environment(),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found: dict[str, tuple[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_faults_of_the_training_stack_fail_and_a_healthy_one_passes(tmp_path: Path) -> None:
    found = rounds(tmp_path, "llama1-13b/pretrain", "healthy", *ON_ONE_CARD)
    assert found.pop("healthy") == ["passed", []]
    assert {fault: state for fault, (state, _) in found.items()} == dict.fromkeys(ON_ONE_CARD, "failed")
    assert found["loss_scale_off"][1] == ["gradient norm"], "Adam and clipping hide it from the loss"


def test_the_gradient_of_one_of_two_cards_cannot_get_lost(tmp_path: Path) -> None:
    """Two processes, started by Paddle's launcher, share the rows of every batch."""
    found = rounds(tmp_path, "llama1-13b/pretrain", "healthy", "lost_second_card", cards=2)
    assert found["healthy"] == ["passed", []]
    state, gates = found["lost_second_card"]
    assert state == "failed"
    assert {"early loss", "gradient norm"} <= set(gates)


def test_a_mixture_of_experts_with_the_library_s_own_gate_fails(tmp_path: Path) -> None:
    """Paddle against PyTorch shows it; Paddle against Paddle never does. The mended one is part of the parity tests."""
    state, gates = rounds(tmp_path, "qwen2-57b-a14b/pretrain", "unmended_router")["unmended_router"]
    assert state == "failed"
    assert "gradient norm" in gates
    assert "first loss" not in gates


def test_certify_writes_a_bundle_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    asked = ["--level", "I", "--task", "pretrain", "--scale", "sample", "--jobs", "1", "--out", str(out)]
    first = run(tmp_path, "certify", "--plugin", "refchip", *asked, "--time-budget", "1")
    assert first.returncode == 3, first.stdout + first.stderr
    done = run(tmp_path, "certify", "--resume", str(out), "--jobs", "1")
    records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    states = {record["id"]: record["state"] for record in records}
    assert states == {
        "certification/gemm/bfloat16/peak": "passed",
        "certification/gemm/float32/peak": "passed",
        "certification/llama1-13b/float32/pretrain": "passed",
        "certification/llama1-13b/bfloat16/pretrain": "passed",
        "certification/llama1-13b/float32/restart": "passed",
    }, done.stdout
    certificate = json.loads((out / "certificate.json").read_text())
    (task,) = certificate["tasks"]
    # A pretrain certificate needs the tuning of its level, which was not asked for.
    assert (done.returncode, task["verdict"]) == (3, "inconclusive")
    assert certificate["title"].startswith("sample of level I")
    assert all("sample" in (out / page).read_text() for page in ("report.html", "cases.html"))
    assert "PyTorch on CPU" in certificate["reference"]
    assert any("GPU" in missing for missing in certificate["missing"])
    assert {path.name for path in (out / "measurements").iterdir()} == {
        "llama1-13b.pretrain.float32.json",
        "llama1-13b.pretrain.bfloat16.json",
    }
    wide = json.loads((out / "measurements" / "llama1-13b.pretrain.bfloat16.json").read_text())
    assert wide["executed"]["kernels"]["matmul/bfloat16"] > 0
    assert not wide["executed"]["off_device"]


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**conform_environment(), "REFCHIP_THREADS": os.environ.get("REFCHIP_THREADS", "1")}
    return subprocess.run(
        conform_command(*arguments),
        capture_output=True,
        text=True,
        timeout=500,
        env=environment,
        cwd=cwd,
        check=False,
    )
