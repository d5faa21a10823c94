"""Certification: every recipe of a level on the device, held against a recorded reference.

``certification/llama1-13b/float32/pretrain``   one recipe in one precision, by the rules of acceptance
``certification/llama1-13b/float32/restart``    from a checkpoint, in a fresh process
``certification/gemm/bfloat16/peak``            the declared peak against a measured one

Planned by ``adapter-conform certify``, which says level, tasks, scale and reference pack. A run of a recipe writes its
raw record to ``measurements/`` of the output folder, named by BUNDLE_VARIABLE.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_conform.cases import Case, GateFigure, Outcome
from adapter_conform.certification.acceptance import Extras, Peak, Resume, judge_measurement, state_of
from adapter_conform.certification.acceptance.performance import peaks
from adapter_conform.certification.acceptance.stability import resumed
from adapter_conform.certification.digests import weights_digest
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs import Pack, read_pack
from adapter_conform.certification.recipes import MODELS, Recipe, recipes_of
from adapter_conform.certification.standard import load_standard
from adapter_conform.errors import UsageProblem
from adapter_conform.models.diffusion import why_no_diffusion
from adapter_conform.models.paddlenlp_adapter import why_unavailable
from adapter_conform.states import State
from adapter_conform.suites._training_gates import relative_errors
from adapter_conform.suites.base import PlanRequest

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["BUNDLE_VARIABLE", "SUITE", "CertificationSuite", "measurement_file"]

BUNDLE_VARIABLE = "ADAPTER_CONFORM_BUNDLE"
"""Environment of the workers: the absolute path of the output folder."""

_TIMEOUT = 7200.0
"""Seconds; a proxy's thousand steps take a minute or two on a quiet machine."""

_WINDOW_LIMIT = 2.0**-20
"""Relative difference of mean losses after a restart from those of the run without one. A restart restores every bit;
the limit is the floor under which the early losses of two correct devices stay."""


class CertificationSuite:
    name = "certification"
    stands_alone = True

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        settings = request.settings
        if "level" not in settings:
            raise UsageProblem("suite certification is run by a command of its own: adapter-conform certify --help")
        tasks = tuple(filter(None, settings["task"].split(",")))
        recipes = recipes_of(settings["level"], tasks, settings["scale"], request.seed)
        pack = read_pack(Path(settings["reference"]))
        common = {
            "level": settings["level"],
            "scale": settings["scale"],
            "seed": request.seed,
            "reference": settings["reference"],
            "reference_digest": pack.digest,
            "cards": int(settings.get("cards", 1)),
        }
        cases = [_peak_case(dtype, common) for dtype in sorted({_peak_of(p) for r in recipes for p in r.precisions})]
        for recipe in recipes:
            cases += [_recipe_case(recipe, precision, pack, common) for precision in recipe.precisions]
        cases += [
            _case(recipe.model.lower(), "float32", "restart", {"recipe": recipe.id, **common}, _lacking(recipe, pack))
            for recipe in recipes
            if recipe.task == "pretrain" and not recipe.performance_only
        ]
        return cases

    def run(self, case: Case, session: Session) -> Outcome:
        try:
            if case.payload["check"] == "peak":
                return _check_peak(session, case.dtype)
            recipe = _recipe(case.payload)
            pack = read_pack(Path(case.payload["reference"]))
            if case.payload["check"] == "restart":
                return _check_restart(session, recipe, case.dtype, pack)
            return _check_recipe(session, recipe, case.dtype, pack, int(case.payload["cards"]))
        finally:
            session.paddle.set_device(session.device)


SUITE = CertificationSuite()


def measurement_file(folder: Path, recipe: Recipe, precision: str) -> Path:
    return folder / "measurements" / f"{recipe.id.replace('/', '.')}.{precision}.json"


def _peak_of(precision: str) -> str:
    """The dtype of the peak that a precision's speed is counted by: bfloat16 for all that is narrower than float32."""
    return precision if precision == "float32" else "bfloat16"


def _peak_case(dtype: str, common: Mapping[str, Any]) -> Case:
    return Case(f"certification/gemm/{dtype}/peak", "certification", "gemm", dtype, {"check": "peak"}, _TIMEOUT)


def _recipe_case(recipe: Recipe, precision: str, pack: Pack, common: Mapping[str, Any]) -> Case:
    lacking = _lacking(recipe, pack)
    if not lacking and not recipe.performance_only and not pack.of(recipe.id, precision):
        lacking = f"reference pack {pack.name} has no run of {recipe.id} in {precision}"
    elif not lacking and recipe.task == "inference" and not pack.of(recipe.id, "float32"):
        lacking = f"reference pack {pack.name} has no run of {recipe.id} in float32, which errors are counted from"
    return _case(recipe.model.lower(), precision, recipe.task, {"recipe": recipe.id, **common}, lacking)


def _case(operator: str, dtype: str, what: str, payload: Mapping[str, Any], lacking: str) -> Case:
    return Case(
        id=f"certification/{operator}/{dtype}/{what}",
        suite="certification",
        operator=operator,
        dtype=dtype,
        payload={"check": "restart" if what == "restart" else "recipe", **payload},
        timeout=_TIMEOUT,
        not_run=why_unavailable() or _without_diffusion(operator) or lacking or None,
    )


def _without_diffusion(model: str) -> str | None:
    """Why a Stable Diffusion cannot be built here; ``None`` for other models."""
    standard = {name.lower(): standard for name, standard in MODELS.items()}.get(model)
    return why_no_diffusion() if standard is not None and standard.architecture == "stable_diffusion" else None


def _lacking(recipe: Recipe, pack: Pack) -> str:
    """What the pack has not, and the recipe needs; empty where it has it."""
    if pack.lacks_weights(recipe):
        return f"reference pack {pack.name} has no weights for {recipe.id}; record one that has: adapter-conform record"
    return ""


def _recipe(payload: Mapping[str, Any]) -> Recipe:
    recipes = recipes_of(payload["level"], (), payload["scale"], int(payload["seed"]))
    (found,) = (recipe for recipe in recipes if recipe.id == payload["recipe"])
    return found


def _check_recipe(session: Session, recipe: Recipe, precision: str, pack: Pack, cards: int) -> Outcome:
    from adapter_conform.certification.tasks.inference.measuring import measure_inference
    from adapter_conform.certification.tasks.measuring import measure
    from adapter_conform.certification.tasks.sharing import is_shared, measure_shared

    weights = pack.weights(recipe.id)
    if cards > 1 and is_shared(recipe):
        measurement = measure_shared(session, recipe, precision, pack, cards)
    elif recipe.task == "inference":
        digest = weights_digest(weights)
        measurement = measure_inference(session, recipe, precision, weights, digest, pack.measurements)
    else:
        measurement = measure(session, recipe, precision, weights, weights_digest(weights))
    _write(measurement, recipe, precision)
    figures = judge_measurement(recipe, measurement, pack.measurements)
    state = state_of(figures)
    unproved = any(figure.gate == "execution" and not figure.passed for figure in figures)
    outcome = Outcome(state, "" if unproved else session.device, figures, _words(figures), _details(measurement, pack))
    return outcome


def _write(measurement: Measurement, recipe: Recipe, precision: str) -> None:
    """The file stands there whole or not at all."""
    path = measurement_file(Path(os.environ[BUNDLE_VARIABLE]), recipe, precision)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(measurement.to_json(), encoding="utf-8")
    new.replace(path)


def _words(figures: Sequence[GateFigure]) -> str:
    wrong = [figure for figure in figures if not figure.passed]
    return "\n".join(f"{one.gate}, {one.output}: {one.value:.4g}, limit {one.limit:.4g}; {one.note}" for one in wrong)


def _details(measurement: Measurement, pack: Pack) -> dict[str, Any]:
    return {
        "recipe": measurement.recipe,
        "recipe_digest": measurement.recipe_digest,
        "reference": pack.label,
        "kernels": measurement.executed["kernels"],
        "tensors_checked": measurement.executed["tensors_checked"],
        "steps": len(measurement.losses),
        **_losses(measurement, pack),
        "error": measurement.error,
    }


def _losses(measurement: Measurement, pack: Pack) -> dict[str, Any]:
    """Of a training; of inference what executed, by way."""
    if "ways" in measurement.executed:
        shown = ("ways", "weight_bytes", "load", "painting")
        return {key: measurement.executed[key] for key in shown if key in measurement.executed}
    runs = pack.of(measurement.recipe, measurement.precision)
    return {"loss": {"device": measurement.losses, **({"reference": runs[0].losses} if runs else {})}}


def _check_peak(session: Session, dtype: str) -> Outcome:
    from adapter_conform.certification.tasks.peak import measure_peak

    declared = {peak.dtype: peak.tflops for peak in session.plugin.device.peaks}
    if dtype not in declared:
        why = f"plugin {session.plugin.name!r} declares no peak for {dtype}: adapter_device, DeviceDescription.peaks"
        return Outcome(State.VACUOUS, message=why)
    with session.watch() as calls:
        found = measure_peak(session, dtype)
    figures = list(peaks(Extras(peaks=[Peak(dtype, declared[dtype], found.best_tflops)])))
    ran = calls.eager.get(f"matmul/{dtype}", 0) > 0
    details = {"kernels": calls.total(), "peak": vars(found), "declared_tflops": declared[dtype]}
    return Outcome(state_of(figures), session.device if ran else "", figures, _words(figures), details)


def _check_restart(session: Session, recipe: Recipe, precision: str, pack: Pack) -> Outcome:
    from adapter_conform.certification.tasks.restart import train_and_restart

    with session.watch() as calls:
        found = train_and_restart(session, recipe, pack.weights(recipe.id))
    losses = [*found.losses[: found.checkpoint], *found.resumed]
    resume = Resume(recipe.id, precision, found.checkpoint, losses)
    limits = load_standard().limits
    figures = [_same_losses(found.losses[found.checkpoint :], found.resumed)]
    figures += resumed(resume, pack.of(recipe.id, precision), limits)
    details = {"kernels": calls.total(), "restart": vars(resume), "reference": pack.label}
    ran = calls.eager.get(f"matmul/{precision}", 0) > 0
    return Outcome(state_of(figures), session.device if ran else "", figures, _words(figures), details)


def _same_losses(wanted: Sequence[float], got: Sequence[float]) -> GateFigure:
    count = len(wanted)
    (error,) = relative_errors([sum(wanted) / count], [sum(got) / count])
    words = f"mean loss of the {count} steps after the checkpoint, in a fresh process against the one that went on"
    return GateFigure("restart", "loss", error, _WINDOW_LIMIT, error <= _WINDOW_LIMIT, words)
