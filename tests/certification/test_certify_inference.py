"""Inference on refchip: a healthy device passes in every way that a model runs, and one with a fault does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from adapter_conform.certification.packs import builtin
from conform_harness import conform_environment

pytestmark = pytest.mark.device

ROUNDS = Path(__file__).with_name("inference_rounds.py")
GROUPED = "llama3-70b/inference"
FOUND_BY = {
    f"{GROUPED}:a8w8:healthy": set(),
    f"{GROUPED}:int4:nibble_order:eager": {"logits, eager"},
    f"{GROUPED}:int4:wrong_scale_axis:eager": {"logits, eager"},
    f"{GROUPED}:a8w8:activations_cut_off:eager": {"logits, eager"},
    f"{GROUPED}:int4:wrong_mask_of_the_second_sequence:served": {"logits, served"},
}
"""recipe:precision:fault[:the only way that runs] -> gates that have to fail."""


def test_faults_of_inference_fail_and_a_healthy_device_passes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROUNDS), str(builtin("sample")), "sample", "0", *FOUND_BY],
        capture_output=True,
        text=True,
        timeout=500,
        env=conform_environment(),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    healthy = f"{GROUPED}:a8w8:healthy"
    assert found[healthy] == ["passed", []], [line for line in done.stdout.splitlines() if ": !" in line]
    for name, gates in FOUND_BY.items():
        assert gates <= set(found[name][1]), (name, found[name])
        assert found[name][0] == ("passed" if name == healthy else "failed")
