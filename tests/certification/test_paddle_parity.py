"""Paddle's CPU against what PyTorch recorded: the same losses, and the same gradients once PaddleNLP is mended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.paddle

SCRIPT = """
import json, os, sys
import paddle
paddle.set_device("cpu")
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs import builtin, read_pack
from adapter_conform.certification.recipes import all_recipes
from adapter_conform.certification.tasks.descent import Trainer
from adapter_conform.certification.tasks.measuring import task_of
from adapter_conform.certification.tasks.workplace import Workplace
from adapter_conform.models import paddlenlp_adapter, paddlenlp_mends

recipe_id, steps, mended = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "mended"
if not mended:
    # What lets the gate run at all stays; what is left out is the cut of the router's surplus gradient.
    paddlenlp_mends._detached = lambda gating: gating
pack = read_pack(builtin("proxy"))
recipe = next(one for one in all_recipes("proxy", pack.seed) if one.id == recipe_id)
base = pack.of(recipe_id, "float32")[0]
found = Measurement(recipe.id, recipe.digest, "float32", "base")
place = Workplace(paddle, "cpu")
Trainer(place, recipe, task_of(place, recipe, pack.weights(recipe_id)), found).run(range(steps))
print("FIGURES", json.dumps({
    "losses": [found.losses, base.losses[:steps]],
    "norms": [found.gradient_norms, base.gradient_norms[:steps]],
}))
sys.stdout.flush()
os._exit(0)
"""


def figures(tmp_path: Path, recipe: str, steps: int, state: str) -> dict[str, list[list[float]]]:
    script = tmp_path / "parity.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), recipe, str(steps), state],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    assert lines, done.stdout + done.stderr
    found: dict[str, list[list[float]]] = json.loads(lines[-1].removeprefix("FIGURES "))
    return found


def test_a_mended_mixture_of_experts_has_pytorchs_gradients(tmp_path: Path) -> None:
    found = figures(tmp_path, "qwen2-57b-a14b/pretrain", 5, "mended")
    assert found["losses"][0] == pytest.approx(found["losses"][1], rel=2e-6)
    assert found["norms"][0] == pytest.approx(found["norms"][1], rel=1e-4)


def test_an_unmended_one_has_the_right_first_loss_and_wrong_gradients(tmp_path: Path) -> None:
    """Upstream's router gets a gradient thousands of times too large, which a comparison with Paddle never shows."""
    found = figures(tmp_path, "qwen2-57b-a14b/pretrain", 5, "unmended")
    assert found["losses"][0][0] == pytest.approx(found["losses"][1][0], rel=2e-6)
    assert found["norms"][0][0] > 10 * found["norms"][1][0]
    assert found["losses"][0][4] != pytest.approx(found["losses"][1][4], rel=1e-4)


def test_gpt_agrees_with_pytorchs_gpt2(tmp_path: Path) -> None:
    found = figures(tmp_path, "gpt-3-175b/pretrain", 5, "mended")
    assert found["losses"][0] == pytest.approx(found["losses"][1], rel=2e-6)
    assert found["norms"][0] == pytest.approx(found["norms"][1], rel=1e-4)
