"""Two bundles side by side: driver release against driver release."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_conform.certification.acceptance.performance import throughput
from adapter_conform.certification.acceptance.scores import SCORES, mean_score
from adapter_conform.certification.certifying import CertificateFiles, read_measurements
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.pages.plot import Plot, plot
from adapter_conform.certification.standard import load_standard
from adapter_conform.errors import UsageProblem
from adapter_conform.manifest import read_manifest

__all__ = ["Comparison", "Row", "compare"]


@dataclass(frozen=True)
class Row:
    """A figure that both have; NaN where one lacks it."""

    training: str
    figure: str
    one: float
    other: float

    @property
    def change(self) -> str:
        """Relative, signed."""
        if not self.one or not math.isfinite(self.one) or not math.isfinite(self.other):
            return ""
        return f"{self.other / self.one - 1:+.2e}"


@dataclass(frozen=True)
class Comparison:
    facts: list[tuple[str, str, str]]
    warnings: list[str]
    """What makes the two no like for like."""
    verdicts: list[tuple[str, str, str, str, str]]
    """Level, model, task, verdict of A, verdict of B."""
    rows: list[Row]
    charts: list[tuple[str, Plot]]


@dataclass(frozen=True)
class _Side:
    certificate: Mapping[str, Any]
    reference: Mapping[str, Any]
    facts: Mapping[str, str]
    runs: Mapping[tuple[str, str], Measurement]


def compare(one: Path, other: Path) -> Comparison:
    """Raises UsageProblem where one is no concluded certification."""
    sides = (_read(one), _read(other))
    a, b = sides
    names = list(dict.fromkeys((*a.facts, *b.facts)))
    facts = [(name, a.facts.get(name, ""), b.facts.get(name, "")) for name in names]
    common = [key for key in a.runs if key in b.runs]
    charts = [(" ".join(key), _chart(a.runs[key], b.runs[key])) for key in common if len(a.runs[key].losses) > 1]
    return Comparison(facts, list(_warnings(a, b)), _verdicts(a, b), list(_rows(a, b)), charts)


def _read(root: Path) -> _Side:
    files = CertificateFiles(root)
    try:
        certificate = json.loads(files.certificate.read_bytes())
        reference = json.loads(files.reference.read_bytes())
        manifest = read_manifest(root / "plan.json")
        runs = {(run.recipe, run.precision): run for run in read_measurements(files.measurements)}
        facts = {
            "folder": root.name,
            "verdict": str(certificate["title"]),
            "reference": f"{reference['name']}, {reference['digest'][:16]}",
            "plugin": f"{manifest.plugin_name} {manifest.plugin.get('distribution_version') or ''}".strip(),
            "library sha256": manifest.library_sha256[:16],
            "started": manifest.started,
            **{name: str(version) for name, version in manifest.versions.items()},
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageProblem(f"{root} holds no certification that can be read: {error}") from error
    return _Side(certificate, reference, facts, runs)


def _warnings(a: _Side, b: _Side) -> Iterator[str]:
    if a.reference["digest"] != b.reference["digest"]:
        yield "The two were held against different reference packs: their verdicts are not like for like."
    for name in ("level", "scale"):
        if a.certificate[name] != b.certificate[name]:
            yield f"The {name} differs: {a.certificate[name]} and {b.certificate[name]}."
    for key in a.runs.keys() & b.runs.keys():
        if a.runs[key].recipe_digest != b.runs[key].recipe_digest:
            yield f"{' '.join(key)} was trained by two editions of the recipe: its figures cannot be compared."


def _verdicts(a: _Side, b: _Side) -> list[tuple[str, str, str, str, str]]:
    found = [
        {(task["level"], task["model"], task["task"]): task["verdict"] for task in side.certificate["tasks"]}
        for side in (a, b)
    ]
    cells = dict.fromkeys((*found[0], *found[1]))
    return [(*cell, found[0].get(cell, "not asked for"), found[1].get(cell, "not asked for")) for cell in cells]


def _rows(a: _Side, b: _Side) -> Iterator[Row]:
    for key in dict.fromkeys((*a.runs, *b.runs)):
        one, other = (_figures(side.runs[key]) if key in side.runs else {} for side in (a, b))
        for name in dict.fromkeys((*one, *other)):
            yield Row(" ".join(key), name, one.get(name, math.nan), other.get(name, math.nan))


def _figures(run: Measurement) -> dict[str, float]:
    found: dict[str, float] = {}
    if run.losses:
        last = run.losses[-20:]
        found["loss, first step"], found["loss, mean of the last 20 steps"] = run.losses[0], sum(last) / len(last)
    if run.validation_losses:
        step = max(run.validation_losses, key=int)
        found[f"validation loss after step {step}"] = run.validation_losses[step]
    for name in SCORES:
        preference = name == "chosen preferred"
        if run.items and preference == bool(run.items[0].figures.get("chosen") is not None):
            found[name] = mean_score(run.items, name)
    speed = throughput(run, load_standard().limits)
    if speed is not None:
        found["tokens per second, mean"], found["tokens per second, median"] = speed.mean, speed.median
    return found


def _chart(one: Measurement, other: Measurement) -> Plot:
    steps = range(max(len(one.losses), len(other.losses)))
    return plot("loss (nats per token)", steps, [("reference", one.losses), ("device", other.losses)])
