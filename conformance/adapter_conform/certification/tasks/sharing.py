"""A recipe on several cards that share the rows of every batch: data parallel, one process a card.

The processes are those of a :class:`Crew`, started by Paddle's launcher. All of them train and score; what the first
measured is the measurement, once all agree.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_conform.certification.digests import weights_digest
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs import Pack, read_pack
from adapter_conform.certification.recipes import Recipe, recipes_of
from adapter_conform.certification.tasks.measuring import measure
from adapter_conform.collectives.crew import Crew, CrewLost

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["SHARED", "is_shared", "measure_part", "measure_shared", "why_not_shared"]

SHARED = ("pretrain", "sft")
"""Tasks that several cards share; the others run on one."""

_SECONDS = 7000.0


def is_shared(recipe: Recipe) -> bool:
    """Whether several cards share its rows; Stable Diffusion runs on one."""
    return recipe.task in SHARED and recipe.standard_model.architecture != "stable_diffusion"


def why_not_shared(recipe: Recipe, cards: int) -> str:
    """Empty where ``cards`` can share the recipe, or where one card does it alone."""
    rows = recipe.schedule.rows
    if rows % cards == 0 or not is_shared(recipe):
        return ""
    return f"{recipe.id}: {rows} rows of a batch cannot be shared evenly by {cards} cards"


def measure_shared(session: Session, recipe: Recipe, precision: str, pack: Pack, cards: int) -> Measurement:
    """Raises RuntimeError: the processes could not be started, or one of them did not answer."""
    job = {
        "type": "certify",
        "recipe": recipe.id,
        "scale": recipe.scale,
        "seed": recipe.seed,
        "precision": precision,
        "reference": str(pack.folder),
    }
    try:
        crew = Crew(session.target or session.plugin.name, cards, session.seed, os.environ)
    except CrewLost as error:
        raise RuntimeError(str(error)) from error
    try:
        answers = crew.run(job, _SECONDS)
        silent = [rank for rank in range(cards) if "measurement" not in answers.get(rank, {})]
        if silent:
            said = "; ".join(f"card {rank}: {_said(answers.get(rank))}" for rank in silent)
            raise RuntimeError(f"{said}\n{crew.logs()}")
    finally:
        crew.dismiss()
    return _together([answers[rank] for rank in range(cards)])


def _said(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return "no answer"
    return str(answer["error"]) if "error" in answer else f"ended with {answer.get('ended')}"


def _together(answers: list[dict[str, Any]]) -> Measurement:
    """The first card's figures; what happened on any of them; and whether they agree."""
    runs = [Measurement.from_json(answer["measurement"]) for answer in answers]
    whole = runs[0]
    for key in ("fell_back", "off_device"):
        whole.executed[key] = sorted({name for run in runs for name in run.executed[key]})
    whole.executed["cards"] = len(runs)
    whole.error = next((f"card {card}: {run.error}" for card, run in enumerate(runs) if run.error), "")
    idle = [str(card) for card, answer in enumerate(answers) if not answer["calls"].get("all_reduce")]
    whole.checks["gradients reduced"] = f"card {', '.join(idle)} never called all_reduce" if idle else ""
    apart = [str(card) for card, answer in enumerate(answers) if answer["weights"] != answers[0]["weights"]]
    whole.checks["cards agree"] = f"the weights of card {', '.join(apart)} are not those of card 0" if apart else ""
    return whole


def measure_part(session: Session, job: Mapping[str, Any], rank: int, cards: int) -> dict[str, Any]:
    """What the process of one card does."""
    pack = read_pack(Path(job["reference"]))
    recipes = recipes_of("III", (), job["scale"], int(job["seed"]))
    (recipe,) = (one for one in recipes if one.id == job["recipe"])
    weights = pack.weights(recipe.id)
    learned = hashlib.sha256()

    def look(model: Any) -> None:
        for name, parameter in model.named_parameters():
            learned.update(name.encode() + parameter.numpy().tobytes())

    run = measure(session, recipe, job["precision"], weights, weights_digest(weights), rank, cards, look)
    return {"measurement": run.to_json(), "weights": learned.hexdigest()}
