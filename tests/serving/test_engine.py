"""Engines on refchip: their answers, and that each planted fault is noticed by the check that is there for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.device

PROGRAM = Path(__file__).with_name("engine_program.py")
SEEDS = range(5)
FAULTS = (
    "block_reused_too_early",
    "off_by_one_after_a_hit",
    "wrong_mask_of_the_second_sequence",
    "seed_ignored",
    "one_seed_for_all",
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("engine")
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**os.environ, "GLOG_minloglevel": "2"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {row.pop("name"): row for row in rows}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_healthy_device_passes(found: dict[str, dict[str, Any]], seed: int) -> None:
    row = found[f"healthy {seed}"]
    assert row["found"] == {}
    assert len(row["compared"]) == 5
    assert all(row["compared"])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_fault_is_noticed(found: dict[str, dict[str, Any]], fault: str, seed: int) -> None:
    assert found[f"{fault} {seed}"]["found"]


def test_a_wrong_mask_is_no_model_by_definition(found: dict[str, dict[str, Any]]) -> None:
    """Also where every batch is as wrong as the other."""
    assert any(found["by definition"]["found"])


@pytest.mark.parametrize("model", ["llama_mha", "llama_gqa", "qwen2"])
def test_tokens_are_those_of_paddlenlp(found: dict[str, dict[str, Any]], model: str) -> None:
    assert found[f"paddlenlp {model}"]["same"] == [True] * 3
    assert found[f"paddlenlp {model}"]["loaded"] == [], "a parameter of the model was not set"


@pytest.mark.parametrize("model", ["llama_mha", "llama_gqa", "qwen2"])
def test_what_an_evaluation_asks_is_answered_as_by_paddlenlp(found: dict[str, dict[str, Any]], model: str) -> None:
    row = found[f"evaluated {model}"]
    assert row["apart"] < 1e-5
    assert row["same"]
    assert [len(text) for text in row["written"]] == [18, 2]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_products_run_in_the_dtype_asked_for(found: dict[str, dict[str, Any]], dtype: str) -> None:
    row = found[f"dtype {dtype}"]
    assert row["products"] == [f"block_multihead_attention/{dtype}", f"matmul/{dtype}"]
    assert row["finishes"] == [[None] * 5 + ["length"]] * 3
