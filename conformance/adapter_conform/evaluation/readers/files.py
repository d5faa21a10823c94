"""What the readers share: files of a folder, rows of CSV with their place, fields."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.textfiles import read_text

__all__ = ["csv_rows", "letter", "named", "subjects_in", "text_of"]

_LONGEST_FIELD = 1 << 24
"""Characters of a CSV field; passages are longer than Python's default of 131,072 only in damaged files."""


def subjects_in(folder: Path, pattern: str, suffix: str, what: str) -> dict[str, Path]:
    """Subject -> file, by name: the files of ``folder`` that match ``pattern``, without ``suffix``.

    Raises:
        DataError: there is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder\n{what}")
    found = {path.name[: -len(suffix)]: path for path in sorted(folder.glob(pattern)) if path.name.endswith(suffix)}
    if not found:
        raise DataError(f"{folder} holds no {pattern}\n{what}")
    return found


def named(folder: Path, names: Sequence[str], what: str) -> Path:
    """The first of ``names`` that is a file of ``folder``.

    Raises:
        DataError: none is.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} holds neither of {', '.join(names)}\n{what}")


def csv_rows(path: Path) -> Iterator[tuple[list[str], str]]:
    """Each row, and where it begins; empty lines are passed over.

    Raises:
        DataError: a quotation mark is never closed, or a character cannot be in a CSV file.
    """
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        rows = csv.reader(io.StringIO(read_text(path, "data file"), newline=""), strict=True)
        line = 1
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(
                    f"{path}: line {line}: no row of CSV: {error}\nA field with a quotation mark or a line break is "
                    'put into quotation marks, and a mark inside is written twice: "".'
                ) from error
            if any(field.strip() for field in row):
                yield row, f"{path}: line {line}"
            line = rows.line_num + 1
    finally:
        csv.field_size_limit(before)


def text_of(data: Mapping[str, Any], field: str, where: str, empty: bool = False) -> str:
    """The text in ``field``; ``empty`` says that it may be none, absent or null.

    Raises:
        DataError: it is not there, or no text.
    """
    value = data.get(field)
    if value is None and empty:
        return ""
    if not isinstance(value, str):
        found = "is missing" if field not in data else f"is {json.dumps(value, ensure_ascii=False)[:60]}"
        raise DataError(
            f"{where}: {field} {found}; it has to be a text\nThe fields there: {', '.join(data) or 'none'}."
        )
    if not empty and not value.strip():
        raise DataError(
            f"{where}: {field} is empty\nA question without it cannot be asked: mend the line or remove it."
        )
    return value


def letter(text: str, choices: int, where: str) -> str:
    """The letter of the right choice.

    Raises:
        DataError: it names none of the choices.
    """
    found = text.strip()
    if len(found) != 1 or not 0 <= ord(found) - ord("A") < choices:
        last = chr(ord("A") + choices - 1)
        raise DataError(f"{where}: the answer is {text[:40]!r}\nIt has to be a letter from A to {last}.")
    return found
