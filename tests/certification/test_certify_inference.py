"""Inference on refchip at the scale of a sample: nothing is wrong with a healthy device, and faults are found.

Whole certifications, with answers, load and the checks of the engine, are what tools/inference_rounds.py makes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conform_harness import conform_environment

pytestmark = pytest.mark.device

ROUNDS = Path(__file__).with_name("inference_rounds.py")
GROUPED = "llama3-70b/inference"
HEALTHY = (
    f"{GROUPED}:a8w8:healthy:eager,served",
    f"{GROUPED}:int4-g64:healthy:eager,served",
    "qwen2-57b-a14b/inference:a8w8:healthy:eager,static",
)
FAULTY = {
    f"{GROUPED}:int4:nibble_order:eager": "logits, eager",
    f"{GROUPED}:int4:wrong_scale_axis:eager": "logits, eager",
    f"{GROUPED}:a8w8:activations_cut_off:eager": "logits, eager",
    f"{GROUPED}:int4:wrong_mask_of_the_second_sequence:served": "logits, served",
}
"""Round -> the gate that has to fail."""


def test_logits_of_every_kind_of_integers_and_of_each_fault(tmp_path: Path) -> None:
    command = [sys.executable, str(ROUNDS), *HEALTHY, *FAULTY]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env=conform_environment(), cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name in HEALTHY:
        assert found[name][1] == [], [line for line in done.stdout.splitlines() if line.startswith(f"{name}: !")]
        for way in name.rpartition(":")[2].split(","):
            judged = [line for line in done.stdout.splitlines() if line.startswith(f"{name}: logits, {way}, ")]
            assert len(judged) == 5, f"{way}: not all logits were judged"
    for name, gate in FAULTY.items():
        assert found[name][0] == "failed", (name, found[name])
        assert gate in found[name][1]
