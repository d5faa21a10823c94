"""AGIEval (Zhong et al., 2023), v1 and v1.1, as in its authors' repository: ``TASK.jsonl``, ``few_shot_prompts.csv``.

A line: ``{"passage": null, "question": ..., "options": ["(A)...", ...], "label": "A", "answer": null, ...}``. Where
several options may be right, label is a list, or letters in a row. A cloze has options and label null, and the text in
answer. Options keep the letters that they begin with: prompts show them as they are. The tasks lie in the folder that
is given, or in ``v1_1`` or ``v1`` of it; the examples in the folder or above it: a column for each task, in turns an
example (the literal of a Python dict) and its explanation.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.certification.datafiles.objects import json_lines
from adapter_conform.evaluation.items import Item, Subject
from adapter_conform.evaluation.readers.files import csv_rows, subjects_in, text_of

__all__ = ["read"]

_WHAT = "Give the folder that holds AGIEval's files like lsat-ar.jsonl, or the one above with v1 or v1_1."
_EXAMPLES = "few_shot_prompts.csv"
_WITHOUT_EXAMPLES = {"sat-en-without-passage": "sat-en"}
"""A task whose examples are those of another."""
_NEXT_OPTION = re.compile(r"\s+(?=\(?[B-G]\s*[).．])")


def read(folder: Path) -> list[Subject]:
    """Raises DataError."""
    inner = next((folder / name for name in ("v1_1", "v1") if (folder / name).is_dir()), folder)
    tasks = subjects_in(inner, "*.jsonl", ".jsonl", _WHAT)
    places = (inner / _EXAMPLES, inner.parent / _EXAMPLES)
    shots = _shots(next((path for path in places if path.is_file()), None))
    return [
        Subject(name, _items(path, name), shots.get(_WITHOUT_EXAMPLES.get(name, name), ()), name)
        for name, path in tasks.items()
    ]


def _items(path: Path, name: str) -> tuple[Item, ...]:
    items = tuple(_item(data, f"{name}/{number}", where) for number, (data, where) in enumerate(json_lines(path)))
    if not items:
        raise DataError(f"{path} holds no question\n{_WHAT}")
    return items


def _item(data: Mapping[str, Any], id: str, where: str, explanation: str = "") -> Item:
    question = text_of(data, "question", where)
    passage = text_of(data, "passage", where, empty=True)
    options = data.get("options")
    if options is None:
        return Item(id, question, text_of(data, "answer", where).strip(), passage=passage, explanation=explanation)
    if not isinstance(options, list) or not all(isinstance(one, str) and one.strip() for one in options):
        raise DataError(f"{where}: options are {str(options)[:60]}\nThey are a list of texts, or null for a cloze.")
    choices = tuple(options if len(options) > 1 else _NEXT_OPTION.split(options[0]))  # some stand in one text
    if not 2 <= len(choices) <= 7:
        raise DataError(f"{where}: {len(choices)} options\nA question has two to seven, a cloze null.")
    return Item(id, question, _letters(data.get("label"), len(choices), where), choices, passage, explanation)


def _letters(label: Any, choices: int, where: str) -> str:
    """The letters of a label, sorted: "A", "AC", "A C", ["A", "C"], ["A", "。"]."""
    parts = label if isinstance(label, list) else [label]
    letters = [found for part in parts for found in (re.findall(r"\w", part) if isinstance(part, str) else [""])]
    allowed = {chr(ord("A") + place) for place in range(choices)}
    if (not letters and label != []) or not set(letters) <= allowed:  # one published line has []: none is right
        raise DataError(
            f"{where}: label is {str(label)[:40]!r}\nIt has to be a letter from A to {max(allowed)}, or a list of such."
        )
    return "".join(sorted(set(letters)))


def _shots(path: Path | None) -> dict[str, tuple[Item, ...]]:
    """Examples of each task."""
    if path is None:
        return {}
    names: list[str] = []
    shots: dict[str, list[Item]] = {}
    pending: list[str] = []
    for row, where in csv_rows(path):
        if not names:
            names = [name.strip() for name in row]
            continue
        if len(row) != len(names):
            raise DataError(f"{where}: {len(row)} fields, but the first row names {len(names)}\nMend the row.")
        if not pending:
            pending = row
            continue
        for name, example, explanation in list(zip(names, pending, row, strict=True))[1:]:
            if example.strip():
                of_task = shots.setdefault(name, [])
                id = f"{name}/example/{len(of_task)}"
                of_task.append(_item(_literal(example, f"{where}, {name}"), id, f"{where}, {name}", explanation))
        pending = []
    return {name: tuple(found) for name, found in shots.items()}


def _literal(text: str, where: str) -> Mapping[str, Any]:
    try:
        data = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(f"{where}: no literal of Python: {error}\nFetch {_EXAMPLES} again.") from error
    if not isinstance(data, dict):
        raise DataError(f"{where}: it is {type(data).__name__}, not a dict\nFetch {_EXAMPLES} again.")
    return data
