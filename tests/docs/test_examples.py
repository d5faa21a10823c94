"""The programs that guides include do what the guides say."""

from __future__ import annotations

import datetime
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from adapter_sdk import Waiver

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"


@pytest.mark.device
def test_amp_step_prints_what_the_guide_shows(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "amp_step.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    guide = (ROOT / "docs" / "howto" / "amp.md").read_text()
    shown = re.search(r"\$ python docs/examples/amp_step.py\n(.*?)```", guide, re.DOTALL)
    assert shown is not None
    assert done.stdout == shown[1]


def test_the_waiver_is_valid_until_its_last_day() -> None:
    (waiver,) = runpy.run_path(str(EXAMPLES / "waivers.py"))["adapter_waivers"]()
    assert isinstance(waiver, Waiver)
    assert waiver.covers("erf", "float16", datetime.date(2027, 3, 31))
    assert not waiver.covers("erf", "float16", datetime.date(2027, 4, 1))
