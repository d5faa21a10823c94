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
from adapter_conform.models import paddlenlp_mends

state, steps, *wanted = sys.argv[1:]
if state == "unmended":
    # What lets the gate run at all stays; what is left out is the cut of the router's surplus gradient.
    paddlenlp_mends._detached = lambda gating: gating
pack = read_pack(builtin("sample"))
recipes = {recipe.id: recipe for recipe in all_recipes("sample", pack.seed)}
figures = {}
for name in wanted:
    base, steps = pack.of(name, "float32")[0], int(steps)
    found = Measurement(name, recipes[name].digest, "float32", "base")
    place = Workplace(paddle, "cpu")
    Trainer(place, recipes[name], task_of(place, recipes[name], pack.weights(name)), found).run(range(steps))
    figures[name] = {
        "losses": [found.losses, base.losses[:steps]],
        "norms": [found.gradient_norms, base.gradient_norms[:steps]],
    }
print("FIGURES", json.dumps(figures))
sys.stdout.flush()
os._exit(0)
"""
STEPS = 5
MIXTURE = "qwen2-57b-a14b/pretrain"
ALIKE = ("llama1-13b/lora", "llama1-13b/prefix", "llama1-13b/dpo", MIXTURE)

Figures = dict[str, dict[str, list[list[float]]]]
"""Recipe -> losses and gradient norms of Paddle and of PyTorch."""


def figures(folder: Path, state: str, *recipes: str) -> Figures:
    script = folder / "parity.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), state, str(STEPS), *recipes],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        cwd=folder,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    assert lines, done.stdout + done.stderr
    found: Figures = json.loads(lines[-1].removeprefix("FIGURES "))
    return found


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return figures(tmp_path_factory.mktemp("mended"), "mended", *ALIKE)


@pytest.mark.parametrize("recipe", ALIKE)
def test_paddle_trains_as_pytorch_does(mended: Figures, recipe: str) -> None:
    found = mended[recipe]
    assert found["losses"][0] == pytest.approx(found["losses"][1], rel=2e-6)
    assert found["norms"][0] == pytest.approx(found["norms"][1], rel=1e-4)


def test_an_unmended_mixture_of_experts_has_the_right_first_loss_and_wrong_gradients(tmp_path: Path) -> None:
    """Upstream's router gets a gradient thousands of times too large, which a comparison with Paddle never shows."""
    found = figures(tmp_path, "unmended", MIXTURE)[MIXTURE]
    assert found["losses"][0][0] == pytest.approx(found["losses"][1][0], rel=2e-6)
    assert found["norms"][0][0] > 10 * found["norms"][1][0]
    assert found["losses"][0][-1] != pytest.approx(found["losses"][1][-1], rel=1e-4)
