"""A tensor that a static graph detaches stays on the device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from adapter_conform.session import open_session
session = open_session("refchip", seed=0)
paddle = session.paddle

def halves(x):
    return x.detach() * 0.5

with session.watch() as calls:
    y = paddle.jit.to_static(halves, full_graph=True)(paddle.ones([2, 3]))
print("=>", calls.static.get("share_data/float32", 0), y.place, float(y.sum()))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.device
def test_detach_runs_on_the_device(tmp_path: Path) -> None:
    program = tmp_path / "program.py"  # a file: to_static reads the source of what it converts
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("=> ")[1].strip() == "1 Place(refchip:0) 3.0"
