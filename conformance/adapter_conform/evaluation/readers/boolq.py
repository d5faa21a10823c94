"""BoolQ (Clark et al., 2019) as published: ``dev.jsonl`` and ``train.jsonl``.

A line: ``{"question": ..., "passage": ..., "answer": true, "title": ...}``. The questions are those of dev, the
examples the first of train.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.certification.datafiles.objects import json_lines
from adapter_conform.evaluation.items import Item, Subject
from adapter_conform.evaluation.readers.files import named, text_of

__all__ = ["read"]

_WHAT = "Give the folder that holds BoolQ's dev.jsonl, and train.jsonl for examples."
_MOST_SHOTS = 64


def read(folder: Path) -> list[Subject]:
    """Raises DataError."""
    items = _items(named(folder, ("dev.jsonl",), _WHAT), "boolq", None)
    train = folder / "train.jsonl"
    shots = _items(train, "boolq/train", _MOST_SHOTS) if train.is_file() else ()
    return [Subject("boolq", items, shots)]


def _items(path: Path, name: str, most: int | None) -> tuple[Item, ...]:
    items: list[Item] = []
    for data, where in islice(json_lines(path), most):
        answer = data.get("answer")
        if not isinstance(answer, bool):
            raise DataError(f"{where}: answer is {str(answer)[:40]!r}\nIt has to be true or false; test has none.")
        items.append(
            Item(
                f"{name}/{len(items)}",
                text_of(data, "question", where),
                "yes" if answer else "no",
                passage=text_of(data, "passage", where),
            )
        )
    if not items:
        raise DataError(f"{path} holds no question\n{_WHAT}")
    return tuple(items)
