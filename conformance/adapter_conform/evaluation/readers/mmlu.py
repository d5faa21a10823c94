"""MMLU (Hendrycks et al., 2021) as its authors' data.tar unpacks: ``test/SUBJECT_test.csv``, ``dev/SUBJECT_dev.csv``.

CSV without a header: question, A, B, C, D, letter of the answer. The questions are those of test, the examples of dev.
"""

from __future__ import annotations

from pathlib import Path

from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.evaluation.items import Item, Subject
from adapter_conform.evaluation.readers.files import csv_rows, letter, subjects_in

__all__ = ["read"]

_WHAT = "Give the folder that holds MMLU's dev and test, with files like test/anatomy_test.csv."
_CHOICES = 4


def read(folder: Path) -> list[Subject]:
    """Raises DataError."""
    asked = subjects_in(folder / "test", "*_test.csv", "_test.csv", _WHAT)
    shown = subjects_in(folder / "dev", "*_dev.csv", "_dev.csv", _WHAT) if (folder / "dev").is_dir() else {}
    return [
        Subject(
            name,
            _items(path, name),
            _items(shown[name], f"{name}/dev") if name in shown else (),
            name.replace("_", " "),
        )
        for name, path in asked.items()
    ]


def _items(path: Path, name: str) -> tuple[Item, ...]:
    items: list[Item] = []
    for row, where in csv_rows(path):
        if len(row) != _CHOICES + 2:
            raise DataError(
                f"{where}: {len(row)} fields\nA row has six: question, choices A to D, letter of the answer. "
                "There is no row of names."
            )
        if not row[0].strip():
            raise DataError(f"{where}: the question is empty\nMend the row or remove it.")
        answer = letter(row[-1], _CHOICES, where)
        items.append(Item(f"{name}/{len(items)}", row[0], answer, tuple(row[1:-1])))
    if not items:
        raise DataError(f"{path} holds no question\n{_WHAT}")
    return tuple(items)
