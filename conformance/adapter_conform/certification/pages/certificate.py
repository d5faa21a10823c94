"""``report.html`` of a bundle: the verdict by level and task, and what it rests on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_conform.cases import GateFigure, Record
from adapter_conform.certification.acceptance.comparison import Comparison, compared
from adapter_conform.certification.acceptance.early_loss import loss_errors
from adapter_conform.certification.acceptance.figures import is_inconclusive
from adapter_conform.certification.acceptance.performance import Throughput, throughput
from adapter_conform.certification.acceptance.rules import judge_measurement
from adapter_conform.certification.certifying import CertificateFiles, read_measurements
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.pages.plot import Plot, plot
from adapter_conform.certification.pages.template import template
from adapter_conform.certification.recipes import Recipe, recipes_of
from adapter_conform.certification.standard import load_standard
from adapter_conform.manifest import Manifest, read_manifest
from adapter_conform.report.folder import OutputFolder
from adapter_conform.results import read_records
from adapter_conform.states import State

__all__ = ["RunSection", "render_bundle", "sections"]

_SCORES = ("accuracy", "score", "late loss")


@dataclass(frozen=True)
class RunSection:
    """One training, or one model in one scheme of inference, on the device beside the reference."""

    recipe: Recipe
    precision: str
    figures: list[GateFigure]
    losses: Plot | None
    errors: Plot | None
    repeats: int
    speed: Throughput | None
    device: Measurement

    @property
    def name(self) -> str:
        return f"{self.recipe.id} {self.precision}"

    @property
    def infers(self) -> bool:
        return self.recipe.task == "inference"

    @property
    def load(self) -> dict[str, Any]:
        """What the serving engine bore; empty where no load was offered."""
        return dict(self.device.executed.get("load", {}))

    @property
    def worst_logits(self) -> list[GateFigure]:
        """Of each way that the model ran, the relative error of its logits, or of the noise that it predicts."""
        shown = ("logits, ", "noise, ")
        return [one for one in self.figures if one.gate.startswith(shown) and one.output == "relative error"]

    @property
    def scores(self) -> list[GateFigure]:
        return [figure for figure in self.figures if figure.gate in _SCORES]

    @property
    def verdict(self) -> str:
        bad = [figure for figure in self.figures if not figure.passed]
        if any(not is_inconclusive(figure) for figure in bad):
            return "failed"
        return "vacuous" if bad else "passed"


def render_bundle(root: Path) -> str:
    """The page of the concluded certification in ``root``, a function of its files alone.

    Raises:
        ConformError, OSError, ValueError: a file is missing or damaged.
    """
    files = CertificateFiles(root)
    manifest = read_manifest(root / "plan.json")
    certificate = json.loads(files.certificate.read_bytes())
    records = read_records(OutputFolder(root), manifest.cases)
    ordered = [records[name] for name in manifest.shard_cases() if name in records]
    return template("certificate.html.j2").render(
        manifest=manifest,
        certificate=certificate,
        verdict_class=str(certificate["verdict"]).replace(" ", "-"),
        reference=json.loads(files.reference.read_bytes()),
        sections=sections(root, manifest),
        not_run=_not_run(ordered, manifest),
        waivers=[rule.describe() for rule in manifest.rules()],
        waived=[record.id for record in ordered if record.state is State.WAIVED],
        environment=_facts(manifest.environment),
        provenance=_facts(json.loads(files.reference.read_bytes())["provenance"]),
        open_note="inconclusive: ",
    )


def sections(root: Path, manifest: Manifest) -> list[RunSection]:
    """In the order of the plan."""
    files, settings = CertificateFiles(root), manifest.settings
    tasks = tuple(filter(None, settings["task"].split(",")))
    device = {(run.recipe, run.precision): run for run in read_measurements(files.measurements)}
    references = read_measurements(files.reference_runs)
    return [
        _section(recipe, device[recipe.id, precision], references)
        for recipe in recipes_of(settings["level"], tasks, settings["scale"], manifest.seed)
        for precision in recipe.precisions
        if (recipe.id, precision) in device
    ]


def _section(recipe: Recipe, run: Measurement, references: Sequence[Measurement]) -> RunSection:
    limits = load_standard().limits
    comparison = None if recipe.performance_only else compared(recipe, run, references, limits)
    trains = recipe.task != "inference"
    return RunSection(
        recipe,
        run.precision,
        judge_measurement(recipe, run, references),
        _losses(run, comparison) if trains else None,
        None if comparison is None or not trains else _errors(comparison),
        0 if comparison is None else len(comparison.repeats),
        throughput(run, limits),
        run,
    )


def _losses(run: Measurement, comparison: Comparison | None) -> Plot | None:
    curves: list[tuple[str, Sequence[float]]] = [] if comparison is None else [("reference", comparison.base.losses)]
    curves.append(("device", run.losses))
    longest = max(len(values) for _, values in curves)
    return plot("loss (nats per token)", range(longest), curves) if longest > 1 else None


def _errors(comparison: Comparison) -> Plot | None:
    """Signed errors of the window means, with the limit on both sides and the reference's own repeats."""
    errors = loss_errors(comparison)
    if errors.signed.size < 2:
        return None
    middle = [(window + 0.5) * errors.size for window in range(errors.signed.size)]
    curves: list[tuple[str, Sequence[float]]] = [("reference", row.tolist()) for row in errors.spread]
    curves += [("limit", errors.absolute_limit.tolist()), ("limit", (-errors.absolute_limit).tolist())]
    curves.append(("device", errors.signed.tolist()))
    return plot(f"device - reference, means over {errors.size} steps (nats)", middle, curves)


def _not_run(records: Sequence[Record], manifest: Manifest) -> list[tuple[str, str, str]]:
    """Case, state and reason."""
    known = {record.id for record in records}
    rows = [
        (record.id, record.state.value, record.message.split("\n", 1)[0])
        for record in records
        if record.state not in (State.PASSED, State.FAILED, State.WAIVED)
    ]
    return rows + [(name, "not_run", "no record") for name in manifest.shard_cases() if name not in known]


def _facts(data: dict[str, Any] | Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested data as flat pairs of words."""
    rows: list[tuple[str, str]] = []
    for key, value in dict(data).items():
        name = f"{prefix} {key}".strip().replace("_", " ")
        if isinstance(value, dict):
            rows += _facts(value, name)
        elif value not in (None, "", []):
            rows.append((name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
