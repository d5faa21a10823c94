"""A failure becomes small, and its file shows it with nothing but Paddle, the plugin and NumPy."""

from __future__ import annotations

import ast
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from adapter_conform.supervisor.preload import PRELOAD_VARIABLE
from conform_harness import Finished

pytestmark = [pytest.mark.device, pytest.mark.slow]

PLAN = "sign:exp/float32,sign:sigmoid/float32,last_element:matmul/float32,nan_swallowed:abs/float32"
CASES = "ops/exp/float32 or ops/sigmoid/float32 or ops/matmul/float32 or ops/abs/float32"


@pytest.fixture(scope="module")
def broken(run_with_faults: Callable[..., Finished]) -> Finished:
    return run_with_faults(PLAN, "--profile", "smoke", "-k", CASES)


def execute(program: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def files(run: Finished) -> dict[str, Path]:
    """The standalone file of each operator that failed."""
    found: dict[str, Path] = {}
    for path in sorted((run.out / "repro").glob("*.py")):
        found.setdefault(path.name.split("_")[0], path)
    return found


@pytest.mark.parametrize("operator", ["sigmoid", "abs"])
def test_the_file_shows_the_fault_and_only_the_fault(broken: Finished, fault_library: Path, operator: str) -> None:
    path = files(broken)[operator]
    driver = str(Path(__file__).with_name("run_standalone.py"))
    faulty = execute([driver, str(path)], **{PRELOAD_VARIABLE: str(fault_library), "ADAPTER_FAULT": PLAN})
    assert faulty.returncode == 1, faulty.stdout + faulty.stderr[-2000:]
    assert "got" in faulty.stdout
    assert "expected" in faulty.stdout
    assert "limit" in faulty.stdout
    healthy = execute([str(path)])
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr[-2000:]
    assert "every result is within its limits" in healthy.stdout


def test_the_files_need_nothing_else(broken: Finished) -> None:
    for path in files(broken).values():
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names]
            )
        }
        assert imported <= {"base64", "io", "os", "sys", "zlib", "numpy", "paddle"}, path


def test_the_examples_are_small_and_the_records_name_the_files(broken: Finished) -> None:
    shrunk = json.loads((broken.out / "repro" / "index.json").read_text())
    assert len(shrunk) >= 4
    failed = {record["id"] for record in broken.records if record["state"] == "failed"}
    assert {item["id"] for item in shrunk} <= failed
    for item in shrunk:
        assert (broken.out / item["file"]).is_file()
        assert sum(math.prod(part["shape"]) for part in item["example"]["inputs"]) <= 4
    assert "smallest, on its own:" in broken.stdout
