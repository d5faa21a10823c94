"""Fused row-wise operators and mixture of experts through Paddle on refchip; see ``rows_and_experts.py``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.device

PROGRAM = Path(__file__).with_name("rows_and_experts.py")
CHECKS = re.findall(r"^def (check_\w+)", PROGRAM.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def lines() -> dict[str, str]:
    """What the program says about each check."""
    done = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith("check_"))


@pytest.mark.parametrize("name", CHECKS)
def test_agrees_with_numpy_without_fallback(lines: dict[str, str], name: str) -> None:
    assert lines[name] == "ok"
