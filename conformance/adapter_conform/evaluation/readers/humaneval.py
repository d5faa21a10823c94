"""HumanEval (Chen et al., 2021) as published: ``HumanEval.jsonl.gz``, or unpacked.

A line: ``{"task_id": "HumanEval/0", "prompt": ..., "entry_point": ..., "canonical_solution": ..., "test": ...}``.
"""

from __future__ import annotations

from pathlib import Path

from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.certification.datafiles.objects import json_lines
from adapter_conform.evaluation.items import Item, Subject
from adapter_conform.evaluation.readers.files import named, text_of

__all__ = ["read"]

_WHAT = "Give the folder that holds HumanEval.jsonl.gz or HumanEval.jsonl."


def read(folder: Path) -> list[Subject]:
    """Raises DataError."""
    path = named(folder, ("HumanEval.jsonl.gz", "HumanEval.jsonl"), _WHAT)
    items: dict[str, Item] = {}
    for data, where in json_lines(path):
        id, entry = text_of(data, "task_id", where), text_of(data, "entry_point", where)
        if id in items:
            raise DataError(f"{where}: task {id} stands there twice\nRemove one of them.")
        if not entry.isidentifier():
            raise DataError(f"{where}: entry_point is {entry[:40]!r}\nIt has to be the name of a function.")
        prompt, test = text_of(data, "prompt", where), text_of(data, "test", where)
        items[id] = Item(
            id, prompt, text_of(data, "canonical_solution", where, empty=True), test=test, entry_point=entry
        )
    if not items:
        raise DataError(f"{path} holds no task\n{_WHAT}")
    return [Subject("humaneval", tuple(items.values()))]
