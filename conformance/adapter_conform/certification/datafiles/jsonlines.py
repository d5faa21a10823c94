"""JSON lines for fine-tuning, as PaddleNLP's trainers read them.

SFT  ``{"src": ["question", ...], "tgt": ["answer", ...]}``, a turn each; a single turn may be a plain string
DPO  ``{"src": [...], "tgt": [...], "response": [["one"], ["other"]], "sort": [1, 0]}``: ``tgt`` holds the answers of
     the turns before the last question, ``sort`` is larger for the chosen response
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.certification.datafiles.objects import json_lines

__all__ = [
    "Instruction",
    "Preference",
    "read_instructions",
    "read_preferences",
    "write_instructions",
    "write_preferences",
]


@dataclass(frozen=True)
class Instruction:
    """A conversation: as many answers as questions."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Preference:
    """A conversation whose last question has two answers; ``answers`` are those of the questions before it."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    chosen: str
    rejected: str


def read_instructions(path: Path) -> list[Instruction]:
    """Raises DataError for the first line that is none, with its number and what is wrong."""
    return [_instruction(data, where) for data, where in _lines(path, ("src", "tgt"))]


def read_preferences(path: Path) -> list[Preference]:
    """Raises DataError for the first line that is none, with its number and what is wrong."""
    return [_preference(data, where) for data, where in _lines(path, ("src", "tgt", "response", "sort"))]


def write_instructions(path: Path, items: Iterable[Instruction]) -> None:
    _write(path, ({"src": list(item.questions), "tgt": list(item.answers)} for item in items))


def write_preferences(path: Path, items: Iterable[Preference]) -> None:
    """The chosen response first."""
    _write(
        path,
        (
            {
                "src": list(item.questions),
                "tgt": list(item.answers),
                "response": [[item.chosen], [item.rejected]],
                "sort": [1, 0],
            }
            for item in items
        ),
    )


def _lines(path: Path, fields: tuple[str, ...]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each line's object, and where it stands."""
    found = False
    for data, where in json_lines(path):
        lacking = [field for field in fields if field not in data]
        if lacking:
            raise DataError(f"{where} lacks {', '.join(lacking)}; it has {', '.join(data) or 'nothing'}")
        found = True
        yield data, where
    if not found:
        raise DataError(f"{path} holds no line\nGive a file with one JSON object a line.")


def _instruction(data: Mapping[str, Any], where: str) -> Instruction:
    questions, answers = _texts(data, "src", where), _texts(data, "tgt", where)
    if len(questions) != len(answers) or not questions:
        raise DataError(f"{where}: {len(questions)} texts in src, {len(answers)} in tgt; a turn has one of each")
    return Instruction(questions, answers)


def _preference(data: Mapping[str, Any], where: str) -> Preference:
    questions, answers = _texts(data, "src", where), _texts(data, "tgt", where)
    if len(questions) != len(answers) + 1:
        raise DataError(f"{where}: {len(questions)} texts in src need {len(questions) - 1} in tgt, not {len(answers)}")
    responses, order = data["response"], data["sort"]
    if not isinstance(responses, list) or len(responses) != 2:
        raise DataError(f"{where}: response is to hold two answers")
    texts = [_texts({"response": one}, "response", where) for one in responses]
    if any(len(one) != 1 for one in texts):
        raise DataError(f"{where}: each response is one text")
    if not isinstance(order, list) or len(order) != 2 or not all(type(rank) in (int, float) for rank in order):
        raise DataError(f"{where}: sort is to hold two numbers, the larger for the chosen response")
    if order[0] == order[1]:
        raise DataError(f"{where}: sort ranks both responses alike ({order[0]}); one has to be preferred")
    (one,), (other,) = texts
    return Preference(questions, answers, *((one, other) if order[0] > order[1] else (other, one)))


def _texts(data: Mapping[str, Any], field: str, where: str) -> tuple[str, ...]:
    value = data[field]
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where}: {field} is to be a text or a list of texts")
    if field != "tgt" and any(not text.strip() for text in texts):
        raise DataError(f"{where}: {field} holds an empty text")
    return tuple(texts)


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
