"""C-Eval (Huang et al., 2023) as its authors' archive unpacks: ``val/SUBJECT_val.csv``, ``dev/SUBJECT_dev.csv``.

CSV with a header: id, question, A, B, C, D, answer, and explanation in dev. The questions are those of val, since the
answers of test are not public; the examples those of dev. ``subject_mapping.json`` of the authors' repository, laid
into the folder, gives the subjects their Chinese names in the prompts.
"""

from __future__ import annotations

import json
from pathlib import Path

from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.evaluation.items import Item, Subject
from adapter_conform.evaluation.readers.files import csv_rows, letter, subjects_in
from adapter_conform.textfiles import read_text

__all__ = ["read"]

_WHAT = "Give the folder that holds C-Eval's dev and val, with files like val/law_val.csv."
_COLUMNS = ("id", "question", "A", "B", "C", "D", "answer")


def read(folder: Path) -> list[Subject]:
    """Raises DataError."""
    asked = subjects_in(folder / "val", "*_val.csv", "_val.csv", _WHAT)
    shown = subjects_in(folder / "dev", "*_dev.csv", "_dev.csv", _WHAT) if (folder / "dev").is_dir() else {}
    titles = _titles(folder / "subject_mapping.json")
    return [
        Subject(
            name,
            _items(path, name),
            _items(shown[name], f"{name}/dev") if name in shown else (),
            titles.get(name, name.replace("_", " ")),
        )
        for name, path in asked.items()
    ]


def _items(path: Path, name: str) -> tuple[Item, ...]:
    columns: dict[str, int] = {}
    items: list[Item] = []
    for row, where in csv_rows(path):
        if not columns:
            columns = _columns(row, where)
            continue
        if len(row) != len(columns):
            raise DataError(f"{where}: {len(row)} fields, but the first row names {len(columns)}\nMend the row.")
        cells = {column: row[place] for column, place in columns.items()}
        if not cells["question"].strip():
            raise DataError(f"{where}: the question is empty\nMend the row or remove it.")
        if not cells["answer"].strip():
            raise DataError(f"{where}: there is no answer\nAnswers of the test split are not public: give val.")
        choices = tuple(cells[column] for column in "ABCD")
        items.append(
            Item(
                f"{name}/{len(items)}",
                cells["question"],
                letter(cells["answer"], len(choices), where),
                choices,
                explanation=cells.get("explanation", ""),
            )
        )
    if not items:
        raise DataError(f"{path} holds no question\n{_WHAT}")
    return tuple(items)


def _columns(row: list[str], where: str) -> dict[str, int]:
    names = [name.strip() for name in row]
    lacking = [name for name in _COLUMNS if name not in names]
    if lacking or len(set(names)) != len(names):
        raise DataError(
            f"{where}: the first row is {', '.join(names)[:80]}\n"
            f"It has to name each column once: {', '.join(_COLUMNS)}, and explanation in dev."
        )
    return {name: place for place, name in enumerate(names)}


def _titles(path: Path) -> dict[str, str]:
    """Subject -> Chinese name: ``{"law": ["Law", "法学", "Humanities"], ...}``; nothing where there is no such file."""
    if not path.is_file():
        return {}
    try:
        mapping = json.loads(read_text(path, "data file"))
        return {str(name): str(names[1]) for name, names in mapping.items()}
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: no mapping of subjects: {type(error).__name__}: {error}\n"
            "Take subject_mapping.json of C-Eval's repository, or remove it."
        ) from error
