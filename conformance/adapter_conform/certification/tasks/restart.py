"""Going on from a checkpoint in a fresh process: the losses go on as if nothing had happened.

``python -m adapter_conform.certification.tasks.restart REQUEST`` is the fresh process. REQUEST is a JSON file that
names plugin, recipe and steps; the checkpoint lies beside it, and the losses are written there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_conform.certification.recipes import Recipe, recipes_of
from adapter_conform.certification.tasks.descent import Trainer
from adapter_conform.certification.tasks.measuring import blank_measurement, plain_model, plain_task
from adapter_conform.certification.tasks.workplace import Workplace
from adapter_conform.models.weights import Weights

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["Restart", "restart_steps", "train_and_restart"]

_SECONDS = 900.0
_TAIL = 2000
"""Characters of the process's output that an error quotes."""


@dataclass(frozen=True)
class Restart:
    losses: tuple[float, ...]
    """Of the run that was never interrupted."""
    resumed: tuple[float, ...]
    """Of the fresh process, from step ``checkpoint`` on."""
    checkpoint: int
    """Steps done when the checkpoint was written."""


def restart_steps(recipe: Recipe) -> tuple[int, int]:
    """(steps before the checkpoint, steps in all): past the warm-up, and one window of means on each side."""
    steps = min(recipe.schedule.steps, max(60, 2 * recipe.schedule.warmup + 20))
    return steps - min(20, steps // 2), steps


def train_and_restart(session: Session, recipe: Recipe, weights: Weights) -> Restart:
    """Trains across a checkpoint, and once more from it in a fresh process.

    Raises:
        RuntimeError: the fresh process failed; the end of its output is in the message.
    """
    checkpoint, steps = restart_steps(recipe)
    with tempfile.TemporaryDirectory(prefix="adapter-conform-") as name:
        folder = Path(name)
        trainer = _trainer(session, recipe, plain_model(session.paddle, recipe, weights))
        trainer.run(range(checkpoint))
        _save(trainer, folder)
        trainer.run(range(checkpoint, steps))
        request = {
            "plugin": session.plugin.name,
            "level": recipe.level,
            "recipe": recipe.id,
            "scale": recipe.scale,
            "seed": recipe.seed,
            "steps": [checkpoint, steps],
        }
        (folder / "request.json").write_text(json.dumps(request))
        resumed = _in_fresh_process(folder)
    return Restart(tuple(trainer.measurement.losses), tuple(resumed), checkpoint)


def _trainer(session: Session, recipe: Recipe, model: Any) -> Trainer:
    place = Workplace(session.paddle, session.device)
    return Trainer(place, recipe, plain_task(place, recipe, model), blank_measurement(recipe, "float32", ""))


def _save(trainer: Trainer, folder: Path) -> None:
    paddle = trainer.place.paddle
    paddle.save(trainer.task.model.state_dict(), str(folder / "model.pdparams"))
    paddle.save(_by_structure(trainer), str(folder / "optimizer.pdopt"))


def _by_structure(trainer: Trainer) -> dict[str, Any]:
    """The optimizer's state by the names of the parameters within the model.

    Paddle names it by parameters that are counted through a process: another process may count from elsewhere.
    """
    names = {parameter.name: name for name, parameter in trainer.task.trainable}
    return {_renamed(key, names): state for key, state in trainer.optimizer.state_dict().items()}


def _restore(trainer: Trainer, state: dict[str, Any]) -> None:
    names = {name: parameter.name for name, parameter in trainer.task.trainable}
    trainer.optimizer.set_state_dict({_renamed(key, names): value for key, value in state.items()})


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """``"<parameter>_moment1_0"`` with the parameter's other name; what belongs to no parameter stays as it is."""
    owner = max((name for name in names if key.startswith(name + "_")), key=len, default=None)
    return key if owner is None else names[owner] + key[len(owner) :]


def _in_fresh_process(folder: Path) -> list[float]:
    command = [sys.executable, "-m", "adapter_conform.certification.tasks.restart", str(folder / "request.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode != 0:
        tail = (done.stdout + done.stderr)[-_TAIL:]
        raise RuntimeError(f"the process that goes on from the checkpoint ended with {done.returncode}:\n{tail}")
    losses: list[float] = json.loads((folder / "losses.json").read_text())
    return losses


def _go_on(request_file: Path) -> None:
    from adapter_conform.session import open_session

    request: dict[str, Any] = json.loads(request_file.read_text())
    session = open_session(request["plugin"], request["seed"])
    candidates = recipes_of(request["level"], scale=request["scale"], seed=request["seed"])
    (recipe,) = (candidate for candidate in candidates if candidate.id == request["recipe"])
    folder = request_file.parent
    trainer = _trainer(session, recipe, plain_model(session.paddle, recipe))
    trainer.task.model.set_state_dict(session.paddle.load(str(folder / "model.pdparams")))
    _restore(trainer, session.paddle.load(str(folder / "optimizer.pdopt")))
    trainer.run(range(*request["steps"]))
    (folder / "losses.json").write_text(json.dumps(trainer.measurement.losses))


if __name__ == "__main__":
    _go_on(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)
