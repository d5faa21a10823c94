"""`pytest --adapter-plugin NAME`: cases as tests, chosen by -k and -m, with explanations."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from adapter_conform.cases import GateFigure, Record
from adapter_conform.states import State
from adapter_conform.testing import explain
from conform_harness import conform_environment

# The module is named by -p, whether or not the installed distribution has the entry point.
_ENVIRONMENT = {**conform_environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def test_an_explanation_has_index_values_and_limit() -> None:
    figure = GateFigure("bound", "out0", 1.8, 1.0, False, "worst at [3, 1]: 14.8, expected 8.36 within 3.5e-06")
    record = Record(
        "ops/x/float32/eager-0", "ops", "x", "float32", State.FAILED, "", [figure], 0.0, "adapter-conform -k x"
    )
    told = explain(record)
    assert "bound on out0: 1.8, limit 1: OUTSIDE (worst at [3, 1]: 14.8, expected 8.36 within 3.5e-06)" in told
    assert "rerun: adapter-conform -k x" in told


@pytest.mark.device
def test_cases_are_tests(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "adapter_conform.pytest_plugin",
        "-W",
        "error::pytest.PytestWarning",
    ]
    chosen = ["--adapter-plugin", "refchip", "-m", "relu and float32", "-v"]
    done = subprocess.run(
        [*command, *chosen],
        cwd=tmp_path,
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ops/relu/float32/eager-0 PASSED" in done.stdout
    assert "test_own" not in done.stdout


@pytest.mark.device
def test_an_unknown_plugin_is_a_usage_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "adapter_conform.pytest_plugin", "--adapter-plugin", "refchp"]
    done = subprocess.run(
        command, cwd=tmp_path, env=_ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 4
    assert "did you mean 'refchip'" in done.stderr + done.stdout


@pytest.mark.device
def test_cases_are_dealt_out_by_xdist(tmp_path: Path) -> None:
    """Two workers share the operators; no case is lost, none runs twice, and the cases of an operator stay together."""
    command = [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "adapter_conform.pytest_plugin"]
    chosen = ["--adapter-plugin", "refchip", "-m", "(relu or tanh) and float32", "-v", "-n", "2", "--dist", "loadfile"]
    done = subprocess.run(
        [*command, *chosen], cwd=tmp_path, env=_ENVIRONMENT, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.findall(r"\[(gw\d)\].* PASSED (conformance/ops/(relu|tanh)::ops/\S+)", done.stdout)
    assert len(passed) == len({case for _, case, _ in passed}) == int(_words(done.stdout, "passed"))
    assert {operator for _, _, operator in passed} == {"relu", "tanh"}
    assert len({(worker, operator) for worker, _, operator in passed}) == 2, "an operator was split"


def _words(output: str, state: str) -> str:
    found = re.search(rf"(\d+) {state}", output)
    assert found is not None, output
    return found.group(1)
