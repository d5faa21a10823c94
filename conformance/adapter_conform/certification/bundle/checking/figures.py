"""Every gate figure and state of a record follows from the raw measurements."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter_conform.cases import GateFigure, Record
from adapter_conform.certification.acceptance import Extras, Peak, Resume, judge_measurement, state_of
from adapter_conform.certification.acceptance.performance import peaks
from adapter_conform.certification.acceptance.stability import resumed
from adapter_conform.certification.bundle.findings import Finding
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.standard import load_standard
from adapter_conform.states import State
from adapter_conform.waivers import WaiverRule

__all__ = ["Evidence", "check_records"]

_ALLOWED = {
    State.PASSED: (State.PASSED, State.VACUOUS, State.FELL_BACK),
    State.VACUOUS: (State.VACUOUS, State.FELL_BACK),
    State.FAILED: (State.FAILED, State.WAIVED, State.FELL_BACK),
}
"""State by the figures -> states that a record may have: a run may know more that speaks against a case."""
_ROUNDING = 1e-9
"""Relative: another machine may add in another order."""
_EXECUTED = (State.PASSED, State.FAILED, State.WAIVED, State.VACUOUS, State.FELL_BACK)


@dataclass(frozen=True)
class Evidence:
    """The raw records of a bundle."""

    recipes: Mapping[str, Recipe]
    device: Mapping[str, Measurement]
    """File name -> what it holds."""
    references: Sequence[Measurement]
    waivers: Sequence[WaiverRule]


def check_records(records: Sequence[Record], evidence: Evidence) -> Iterator[Finding]:
    used = set()
    for record in records:
        if record.suite != "certification":
            continue
        if "recipe" in record.details and "restart" not in record.details:
            name = f"{str(record.details['recipe']).replace('/', '.')}.{record.dtype}.json"
            used.add(name)
            yield from _training(record, name, evidence)
        else:
            yield from _part(record, _others(record, evidence))
        if record.state is State.WAIVED and not any(rule.covers(record) for rule in evidence.waivers):
            yield Finding("record", record.id, "waived, and no waiver of the plan covers it")
    for name in sorted(evidence.device.keys() - used):
        run = evidence.device[name]
        if name != f"{run.recipe.replace('/', '.')}.{run.precision}.json":
            yield Finding("record", f"measurements/{name}", f"it holds {run.recipe} in {run.precision}")
        elif not _interrupted(records, run):
            yield Finding("record", f"measurements/{name}", "no record of results.jsonl belongs to it")


def _interrupted(records: Sequence[Record], run: Measurement) -> bool:
    """Whether the case of ``run`` ended without a verdict of its own, after it had written its file."""
    model, task = run.recipe.split("/")
    name = f"certification/{model}/{run.precision}/{task}"
    return any(record.id == name and record.state not in _EXECUTED for record in records)


def _training(record: Record, name: str, evidence: Evidence) -> Iterator[Finding]:
    run, recipe = evidence.device.get(name), evidence.recipes.get(str(record.details["recipe"]))
    if run is None:
        yield Finding("missing", record.id, f"its raw record measurements/{name} is not there")
        return
    if recipe is None or run.recipe != recipe.id or run.precision != record.dtype:
        yield Finding("record", record.id, f"measurements/{name} holds {run.recipe} in {run.precision}")
        return
    figures = judge_measurement(recipe, run, evidence.references)
    yield from _compare(record, figures)
    allowed = _ALLOWED[state_of(figures)]
    if record.state not in allowed:
        yield Finding("verdict", record.id, f"recorded as {record.state.value}; its figures make it {allowed[0].value}")
    losses = record.details.get("loss", {}).get("device")
    if losses is not None and [float(value) for value in losses] != [float(value) for value in run.losses]:
        yield Finding("figure", record.id, f"its losses are not those of measurements/{name}")


def _others(record: Record, evidence: Evidence) -> list[GateFigure]:
    """Figures of a case without a measurement of its own that can be computed from its details."""
    details: Mapping[str, Any] = record.details
    if "peak" in details:
        peak = details["peak"]
        found = Peak(peak["dtype"], details["declared_tflops"], peak["best_tflops"])
        return list(peaks(Extras(peaks=[found])))
    if "restart" in details:
        resume = Resume(**details["restart"])
        runs = [run for run in evidence.references if (run.recipe, run.precision) == (resume.recipe, resume.precision)]
        return list(resumed(resume, runs, load_standard().limits))
    return []


def _part(record: Record, figures: Sequence[GateFigure]) -> Iterator[Finding]:
    named = {(figure.gate, figure.output): figure for figure in record.errors}
    for figure in figures:
        written = named.get((figure.gate, figure.output))
        if written is None:
            yield Finding("figure", record.id, f"{figure.gate}, {figure.output}: the record lacks it")
        elif not _same(written, figure):
            yield _edited(record, written, figure)


def _compare(record: Record, figures: Sequence[GateFigure]) -> Iterator[Finding]:
    names = [(figure.gate, figure.output) for figure in record.errors]
    wanted = [(figure.gate, figure.output) for figure in figures]
    if names != wanted:
        odd = [f"{gate}, {output}" for gate, output in set(names) ^ set(wanted)]
        yield Finding("figure", record.id, f"its gates are not those of the rules: {'; '.join(sorted(odd)) or 'order'}")
        return
    for written, figure in zip(record.errors, figures, strict=True):
        if not _same(written, figure):
            yield _edited(record, written, figure)


def _same(written: GateFigure, figure: GateFigure) -> bool:
    close = all(
        one == other or math.isclose(one, other, rel_tol=_ROUNDING)
        for one, other in ((written.value, figure.value), (written.limit, figure.limit))
    )
    return close and written.passed == figure.passed and written.note == figure.note


def _edited(record: Record, written: GateFigure, figure: GateFigure) -> Finding:
    def words(one: GateFigure) -> str:
        return f"{one.value:.6g} against {one.limit:.6g}, {'passed' if one.passed else 'not passed'}"

    what = f"{figure.gate}, {figure.output}: the record says {words(written)}; the raw data give {words(figure)}"
    return Finding("figure", record.id, what if words(written) != words(figure) else f"{what}; its note was changed")
