"""The file of outcomes: a header, then a line for each question as soon as it is answered.

    {"format": 1, "benchmark": "mmlu", ...}                                what was asked of which model
    {"id": "anatomy/0", "expected": "B", "answer": "B", "score": 1.0, "prompt": "5f0c...", ...}

A reference that was made elsewhere needs ``format`` and ``benchmark``, and of each line ``id``, ``expected`` and
``score``; ``prompt``, the first 16 digits of the sha256 of the prompt, shows that both were asked the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_conform.appending import whole_lines
from adapter_conform.certification.datafiles.errors import DataError

__all__ = ["FORMAT", "Outcome", "read_outcomes"]

FORMAT = 1


@dataclass(frozen=True)
class Outcome:
    id: str
    subject: str
    expected: str
    answer: str
    score: float
    """0 to 1"""
    prompt: str = ""
    """Digest of the prompt with all its examples."""
    shots: int = 0
    """Examples that had room."""
    other_score: float | None = None
    likelihoods: tuple[float, ...] = ()
    text: str = ""
    fault: str = ""
    """Why there is no answer."""
    kernel_calls: int = 0
    """Of the device, in the precision that was asked for, for the questions that were answered together with it."""


def read_outcomes(path: Path) -> tuple[Mapping[str, Any], dict[str, Outcome]]:
    """Header, and outcomes by id.

    Raises:
        DataError: it is no such file; the message names the line.
    """
    try:
        lines = whole_lines(path)
    except OSError as error:
        raise DataError(f"outcomes {path} cannot be read: {error.strerror or error}") from error
    if not lines:
        raise DataError(f"{path}: there are no outcomes\nGive the outcomes.jsonl of an evaluation.")
    header = _object(lines[0], f"{path}: line 1")
    if header.get("format") != FORMAT or not isinstance(header.get("benchmark"), str):
        raise DataError(f"{path}: line 1 is no header of format {FORMAT}\nGive the outcomes.jsonl of an evaluation.")
    outcomes: dict[str, Outcome] = {}
    for number, line in enumerate(lines[1:], start=2):
        outcome = _outcome(_object(line, f"{path}: line {number}"), f"{path}: line {number}")
        if outcome.id in outcomes:
            raise DataError(f"{path}: line {number}: {outcome.id} stands there twice")
        outcomes[outcome.id] = outcome
    return header, outcomes


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: no JSON: {error}") from error
    if not isinstance(data, dict):
        raise DataError(f"{where}: no JSON object")
    return data


def _outcome(data: Mapping[str, Any], where: str) -> Outcome:
    texts = ("id", "subject", "expected", "answer", "prompt", "text", "fault")
    lacking = [name for name in ("id", "expected", "score") if name not in data]
    if lacking:
        raise DataError(f"{where}: {', '.join(lacking)} is missing")
    wrong = [name for name in texts if not isinstance(data.get(name, ""), str)]
    if wrong:
        raise DataError(f"{where}: {wrong[0]} is no text")
    score = data["score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise DataError(f"{where}: score is {str(score)[:40]!r}; it has to be a number from 0 to 1")
    return Outcome(
        **{name: data.get(name, "") for name in texts},
        score=float(score),
        shots=int(data.get("shots", 0)),
        other_score=data.get("other_score"),
        likelihoods=tuple(float(one) for one in data.get("likelihoods", ())),
        kernel_calls=int(data.get("kernel_calls", 0)),
    )
