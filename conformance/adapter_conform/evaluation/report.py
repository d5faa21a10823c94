"""What an evaluation comes to: a verdict with its reasons, summary.json, and lines for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapter_conform.certification.acceptance.equivalence import Equivalence
from adapter_conform.evaluation.benchmarks import Benchmark, Question
from adapter_conform.evaluation.conduct import Asked
from adapter_conform.evaluation.outcomes import Outcome
from adapter_conform.evaluation.request import EvaluationRequest
from adapter_conform.evaluation.summary import CONFIDENCE, Score, compared, score_of
from adapter_conform.jsondata import jsonable
from adapter_conform.states import ExitCode

__all__ = ["Report", "report_of", "write_report"]


@dataclass(frozen=True)
class Report:
    score: Score | None
    other: Score | None
    """By the rule that is not the benchmark's: with lengths, or without."""
    subjects: Mapping[str, Score]
    faults: int
    """Questions without an answer; they count as wrong."""
    shortened: int
    """Questions that had room for fewer examples than asked for."""
    unproved: int
    """Questions during which the device called no kernel in the precision that was asked for."""
    equivalence: Equivalence | None
    code: ExitCode
    reasons: tuple[str, ...]
    """Why it is not measured, or not equivalent."""


def report_of(
    benchmark: Benchmark,
    questions: Sequence[Question],
    asked: Asked,
    reference: Mapping[str, Outcome] | None,
    margin: float,
    tool: str | None = None,
) -> Report:
    """``tool``: what was loaded into the worker besides, which takes the proof away."""
    outcomes = list(asked.outcomes.values())
    missing = len(questions) - len(outcomes)
    faulty = [outcome for outcome in outcomes if outcome.fault]
    unproved = sum(1 for outcome in outcomes if not outcome.fault and outcome.kernel_calls <= 0)
    wanted = {question.item.id: len(question.prompt.shots) for question in questions}
    open_reasons = []
    if missing:
        why = "; ".join(asked.failures[:3]) or ("interrupted" if asked.interrupted else "not asked")
        open_reasons.append(f"{missing} of {len(questions)} questions are not answered: {why}; go on with --resume")
    if unproved:
        open_reasons.append(f"{unproved} answers came without a kernel of the device in the precision asked for")
    if tool:
        open_reasons.append(f"{tool} was loaded into the process that held the device")
    found, rejected, words = None, False, list(open_reasons)
    if reference is not None and not missing:
        found, why = compared(asked.outcomes, reference, margin)
        rejected = found is not None and found.rejected
        if found is None:
            words.append(f"not compared with the reference: {why}")
        elif rejected:
            words.append(f"the score differs from the reference's by more than {margin:g}: {found.words()}")
        elif not found.accepted:
            words.append(f"equivalence within {margin:g} is not shown: {found.words()}")
    code = ExitCode.NOT_CONFORMANT if rejected else ExitCode.INCONCLUSIVE if words else ExitCode.CONFORMANT
    compared_choices = [outcome for outcome in outcomes if outcome.other_score is not None]
    others = [replace(outcome, score=outcome.other_score or 0.0) for outcome in compared_choices]
    return Report(
        score=score_of(outcomes, benchmark.by_subject) if outcomes else None,
        other=score_of(others, benchmark.by_subject) if others else None,
        subjects=_subjects(outcomes),
        faults=len(faulty),
        shortened=sum(1 for one in outcomes if not one.fault and one.shots < wanted.get(one.id, 0)),
        unproved=unproved,
        equivalence=found,
        code=code,
        reasons=tuple(words),
    )


def _subjects(outcomes: Sequence[Outcome]) -> dict[str, Score]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.subject, []).append(outcome)
    return {name: score_of(group, by_subject=False) for name, group in groups.items()}


def write_report(folder: Path, request: EvaluationRequest, report: Report, facts: Mapping[str, Any]) -> list[str]:
    """Writes summary.json; returns what the terminal shows."""
    data = {"request": request.header(), **vars(report), "exit_code": int(report.code), "facts": facts}
    data.pop("code")
    (folder / "summary.json").write_text(json.dumps(jsonable(data), indent=1, ensure_ascii=False) + "\n", "utf-8")
    return list(_lines(folder, request, report))


def _lines(folder: Path, request: EvaluationRequest, report: Report) -> Sequence[str]:
    lines = []
    model = request.model
    if report.score is not None:
        setting = f"{request.shots} shots, {model.precision}" + (f", {model.scheme}" if model.scheme != "none" else "")
        lines.append(f"{request.benchmark}, {setting}: {_words(report.score)}")
    if report.other is not None:
        rule = "not divided by lengths" if request.benchmark == "agieval" else "divided by lengths"
        lines.append(f"  with likelihoods {rule}: {_words(report.other)}")
    if report.faults:
        lines.append(f"  {report.faults} questions have no answer and count as wrong")
    if report.shortened:
        lines.append(f"  {report.shortened} questions had room for fewer examples")
    if report.equivalence is not None and report.code is ExitCode.CONFORMANT:
        lines.append(f"equivalent to the reference within {report.equivalence.margin:g}: {report.equivalence.words()}")
    lines += [*report.reasons, f"outcomes: {folder / 'outcomes.jsonl'}; by subject: {folder / 'summary.json'}"]
    return lines


def _words(score: Score) -> str:
    return f"{score.value:.4f} ({CONFIDENCE:.0%} interval {score.low:.4f} to {score.high:.4f}; {score.items} items)"
