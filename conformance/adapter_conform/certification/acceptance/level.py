"""From the verdicts on runs to the verdict on a level."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.extras import ATTACHMENTS, Extras
from adapter_conform.certification.acceptance.figures import is_inconclusive
from adapter_conform.certification.acceptance.inference import serving_ratio
from adapter_conform.certification.acceptance.painting import painting_ratio
from adapter_conform.certification.acceptance.performance import peaks, ratio
from adapter_conform.certification.acceptance.rules import judge_measurement
from adapter_conform.certification.acceptance.soaking import soaked, still_missing
from adapter_conform.certification.acceptance.stability import resumed
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.standard import Limits, Requirement, Standard
from adapter_conform.states import Verdict

__all__ = ["TUNING", "LevelVerdict", "TaskVerdict", "judge_level"]

TUNING = ("sft", "lora")


@dataclass(frozen=True)
class TaskVerdict:
    """One cell of the standard, or one task beyond it."""

    level: str
    model: str
    task: str
    verdict: Verdict
    reasons: list[str] = field(default_factory=list)
    """Why it is not conformant, or not shown to be."""
    required: bool = True
    """False for tasks that the level does not ask for (DPO, prefix tuning): they are shown and judged all the same."""
    performance: list[GateFigure] = field(default_factory=list)
    """The ratio to the published figure, by precision."""


@dataclass(frozen=True)
class LevelVerdict:
    level: str
    scale: str
    verdict: Verdict
    title: str
    """What may be claimed, and for a proxy or a CPU reference also what may not."""
    tasks: list[TaskVerdict]
    general: list[GateFigure]
    """Peaks, restarts, soak."""
    reasons: list[str]
    """Beside those of the tasks."""
    missing: list[str]
    """What the standard asks for and this bundle lacks: attachments, a soak, a GPU reference."""
    reference: str

    def to_json(self) -> dict[str, Any]:
        """Plain data; verdicts as words. Figures that are not finite are still floats."""
        data = asdict(self)
        data["verdict"] = self.verdict.value
        for task in data["tasks"]:
            task["verdict"] = task["verdict"].value
        return data


def judge_level(
    standard: Standard,
    level: str,
    tasks: Collection[str],
    recipes: Sequence[Recipe],
    device: Sequence[Measurement],
    references: Sequence[Measurement],
    extras: Extras,
    provenance: Mapping[str, Any] | None = None,
) -> LevelVerdict:
    """The verdict on ``level``, from raw records alone.

    Args:
        tasks: those that were asked for; empty for all. What the level demands beyond them stays open.
        recipes: what was to be run.
        device: what came of it.
        provenance: of the reference pack; ``{"device": {"kind": "cuda"}}`` or ``{"device_kind": "cuda"}`` for a GPU.

    Raises:
        ConformError: the standard has no such level.
    """
    scale = recipes[0].scale if recipes else "proxy"
    by_id = {recipe.id: recipe for recipe in recipes}
    wanted = [item for item in standard.required(level) if not tasks or item.task in tasks]
    found = [_required(standard, item, by_id.get(item.recipe_id), device, references, extras) for item in wanted]
    asked = {item.recipe_id for item in standard.required(level)}
    found += [_beyond(recipe, device, references) for recipe in recipes if recipe.id not in asked]
    if standard.pretrain_needs_tuning:
        found = list(_with_tuning(standard, level, found))
    general = [*peaks(extras), *_restarts(standard, by_id, references, extras)]
    if extras.soak is not None:
        general += soaked(extras.soak, standard.limits)
    missing = _missing(extras, standard.limits, provenance, {item.task for item in found})
    reasons = [_words(figure) for figure in general if not figure.passed]
    left_out = sorted({item.task for item in standard.required(level)} - set(tasks)) if tasks else []
    if left_out:
        reasons.append(f"not asked for in this run, and demanded by the level: {', '.join(left_out)}")
    verdict = _worst(
        [item.verdict for item in found if item.required or item.verdict is Verdict.NOT_CONFORMANT]
        + [_of(general) if general else Verdict.CONFORMANT]
        + ([Verdict.INCONCLUSIVE] if scale == "full" and missing else [])
    )
    return LevelVerdict(
        level, scale, verdict, _title(level, scale, verdict, left_out), found, general, reasons, missing,
        _reference(provenance),
    )  # fmt: skip


def _required(
    standard: Standard,
    requirement: Requirement,
    recipe: Recipe | None,
    device: Sequence[Measurement],
    references: Sequence[Measurement],
    extras: Extras,
) -> TaskVerdict:
    cell = (requirement.level, requirement.model, requirement.task)
    if recipe is None:
        return TaskVerdict(*cell, Verdict.INCONCLUSIVE, ["there is no recipe for it here; nothing was run"])
    verdict, reasons = _runs(recipe, device, references)
    speed = []
    if requirement.min_ratio is not None:
        baseline = standard.baselines.get(requirement.model)
        mine = [run for run in device if run.recipe == recipe.id]
        if requirement.task == "inference":
            paints = recipe.standard_model.architecture == "stable_diffusion"
            rate = painting_ratio if paints else serving_ratio
            speed = [rate(requirement, recipe, run, extras) for run in mine]
        else:
            speed = [ratio(requirement, recipe, run, extras, baseline, standard.limits) for run in mine]
        if not any(figure.passed for figure in speed):  # one precision that is fast enough will do
            verdict = _worst([verdict, _of(speed) if speed else Verdict.INCONCLUSIVE])
            reasons += [_words(figure) for figure in speed]
    return TaskVerdict(*cell, verdict, reasons, True, speed)


def _beyond(recipe: Recipe, device: Sequence[Measurement], references: Sequence[Measurement]) -> TaskVerdict:
    return TaskVerdict(recipe.level, recipe.model, recipe.task, *_runs(recipe, device, references), required=False)


def _runs(
    recipe: Recipe, device: Sequence[Measurement], references: Sequence[Measurement]
) -> tuple[Verdict, list[str]]:
    """Of all precisions of a recipe."""
    verdicts, reasons = [], []
    for precision in recipe.precisions:
        runs = [run for run in device if run.recipe == recipe.id and run.precision == precision]
        if len(runs) != 1:
            verdicts.append(Verdict.INCONCLUSIVE)
            reasons.append(f"{precision}: {'was not run' if not runs else f'{len(runs)} records of one run'}")
        for run in runs:
            figures = judge_measurement(recipe, run, references)
            verdicts.append(_of(figures))
            reasons += [f"{precision}: {_words(figure)}" for figure in figures if not figure.passed]
    return _worst(verdicts), reasons


def _with_tuning(standard: Standard, level: str, found: Sequence[TaskVerdict]) -> Iterator[TaskVerdict]:
    """A pretrain verdict holds only beside the tuning verdicts of the same level."""
    for item in found:
        if item.task != "pretrain" or not item.required:
            yield item
            continue
        needed = [cell for cell in standard.required(level) if cell.level == item.level and cell.task in TUNING]
        verdicts = {(cell.model, cell.task): cell.verdict for cell in found}
        short = [cell for cell in needed if verdicts.get((cell.model, cell.task)) is not Verdict.CONFORMANT]
        if not short:
            yield item
            continue
        names = ", ".join(f"{cell.model} {cell.task}" for cell in short)
        reason = f"a pretrain certificate needs the tuning of its level, which is not shown: {names}"
        open_ = Verdict.INCONCLUSIVE if item.verdict is Verdict.CONFORMANT else item.verdict
        yield TaskVerdict(item.level, item.model, item.task, open_, [*item.reasons, reason], True, item.performance)


def _restarts(
    standard: Standard, recipes: Mapping[str, Recipe], references: Sequence[Measurement], extras: Extras
) -> Iterator[GateFigure]:
    for resume in extras.resumes:
        mine = [run for run in references if run.recipe == resume.recipe and run.precision == resume.precision]
        if resume.recipe in recipes:
            yield from resumed(resume, mine, standard.limits)


def _missing(extras: Extras, limits: Limits, provenance: Mapping[str, Any] | None, tasks: Collection[str]) -> list[str]:
    """``tasks``: those that were asked for. What concerns training alone is not missed beside inference alone."""
    trains = set(tasks) != {"inference"}
    asked = [*ATTACHMENTS[: 1 if trains else 0], *(ATTACHMENTS[1:] if "inference" in tasks else ())]
    found = [
        f"{name}: an attachment; on par with the GPU, judged by people"
        for name in asked
        if name not in extras.attachments
    ]
    soak = still_missing(extras.soak, limits)
    if trains and soak:
        found.append(soak)
    if trains and not extras.resumes:
        found.append("restart from a checkpoint: none was tried")
    if not extras.peaks:
        found.append("peak: the declared peak was not checked against a measured one")
    if not _is_gpu(provenance):
        found.append("a reference recorded on a GPU: the standard compares with one")
    return found


def _is_gpu(provenance: Mapping[str, Any] | None) -> bool:
    return _device_kind(provenance) == "cuda"


def _device_kind(provenance: Mapping[str, Any] | None) -> str:
    data = provenance or {}
    device = data.get("device")
    kind = data.get("device_kind") or (device.get("kind") if isinstance(device, Mapping) else device)
    return str(kind or "")


def _reference(provenance: Mapping[str, Any] | None) -> str:
    kind = _device_kind(provenance)
    if kind == "cuda":
        data = provenance or {}
        device = data.get("device")
        name = data.get("device_name") or (device.get("name") if isinstance(device, Mapping) else None)
        return f"reference: PyTorch on {name or 'a GPU'}"
    return "reference: PyTorch on CPU" if kind == "cpu" else "reference: of unknown provenance"


def _title(level: str, scale: str, verdict: Verdict, left_out: Sequence[str]) -> str:
    part = " (a part of it)" if left_out else ""
    if scale != "full":
        return f"{scale} of level {level}{part}: {verdict.value}"
    return f"level {level}{part}: {verdict.value}"


def _of(figures: Sequence[GateFigure]) -> Verdict:
    bad = [figure for figure in figures if not figure.passed]
    if any(not is_inconclusive(figure) for figure in bad):
        return Verdict.NOT_CONFORMANT
    return Verdict.INCONCLUSIVE if bad or not figures else Verdict.CONFORMANT


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    for verdict in (Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.CONFORMANT if verdicts else Verdict.INCONCLUSIVE


def _words(figure: GateFigure) -> str:
    size = (
        "" if is_inconclusive(figure) and figure.value == float("inf") else f" {figure.value:.4g} > {figure.limit:.4g}"
    )
    return f"{figure.gate}, {figure.output}:{size} {figure.note}".replace("  ", " ")
