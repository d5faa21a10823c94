"""BIG-Bench Hard (Suzgun et al., 2022) as in its authors' repository: ``bbh/TASK.json``, ``cot-prompts/TASK.txt``.

``{"canary": ..., "examples": [{"input": ..., "target": ...}, ...]}``; the text file has a line against training on it,
a line of dashes, what the task is about, and examples with their reasoning, a blank line between them, each
``Q: ... A: Let's think step by step. ... So the answer is X.``
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.evaluation.items import Item, Subject
from adapter_conform.evaluation.readers.files import subjects_in, text_of
from adapter_conform.textfiles import read_text

__all__ = ["CONCLUSION", "STEPS", "read"]

STEPS = "Let's think step by step."
CONCLUSION = "o the answer is "
"""With a capital S or without."""
_WHAT = "Give the folder that holds BIG-Bench Hard's bbh and cot-prompts, with files like bbh/navigate.json."
_SHOT = re.compile(r"Q: (.*?)\nA: " + re.escape(STEPS) + r"[ \n](.*)", re.DOTALL)


def read(folder: Path) -> list[Subject]:
    """Raises DataError."""
    subjects = []
    for name, path in subjects_in(folder / "bbh", "*.json", ".json", _WHAT).items():
        title, shots = _shots(folder / "cot-prompts" / f"{name}.txt", name)
        subjects.append(Subject(name, _items(path, name), shots, title))
    return subjects


def _items(path: Path, name: str) -> tuple[Item, ...]:
    try:
        data = json.loads(read_text(path, "data file"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: line {error.lineno}, column {error.colno}: no JSON: {error.msg}\nFetch the file again."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: no JSON: {error}\nFetch the file again.") from error
    examples = data.get("examples") if isinstance(data, dict) else None
    if not isinstance(examples, list) or not examples:
        raise DataError(f'{path}: there is no list "examples" with something in it\n{_WHAT}')
    items = []
    for number, example in enumerate(examples):
        where = f"{path}: example {number + 1}"
        if not isinstance(example, dict):
            raise DataError(f"{where}: it is {type(example).__name__}\nEach is an object with input and target.")
        question, answer = text_of(example, "input", where), text_of(example, "target", where)
        items.append(Item(f"{name}/{number}", question.strip(), answer.strip()))
    return tuple(items)


def _shots(path: Path, name: str) -> tuple[str, tuple[Item, ...]]:
    """What the task is about, and its examples."""
    if not path.is_file():
        return "", ()
    text = read_text(path, "data file").replace("\r\n", "\n")
    _canary, dashes, body = text.partition("\n-----\n")
    if not dashes:
        raise DataError(f"{path}: line 2 is to be -----, after the line against training on it\nFetch the file again.")
    title, *blocks = re.split(r"\n\n(?=Q: )", body.strip())
    shots = []
    for number, block in enumerate(blocks):
        found = _SHOT.fullmatch(block)
        _reasoning, concluded, answer = found[2].rpartition(CONCLUSION) if found else ("", "", "")
        if found is None or not concluded:
            raise DataError(
                f"{path}: example {number + 1} is not: Q: ..., A: {STEPS} ... So the answer is X.\n"
                "Fetch the file again."
            )
        id, answer = f"{name}/cot/{number}", answer.strip().removesuffix(".")
        shots.append(Item(id, found[1].strip(), answer, explanation=found[2].strip()))
    return title.strip(), tuple(shots)
