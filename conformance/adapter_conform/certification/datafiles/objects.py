"""Objects of a JSON-lines file, each with its place."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.textfiles import read_text

__all__ = ["json_lines"]


def json_lines(path: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each line's object, and where it stands; ``.gz`` is unpacked; empty lines are passed over.

    Raises:
        DataError: a line is no JSON object, or the file cannot be unpacked.
    """
    text = _unpacked(path) if path.suffix == ".gz" else read_text(path, "data file")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is no JSON: {error}\nEach line is one object.") from error
        if not isinstance(data, dict):
            raise DataError(f"{where} is no JSON object, but {type(data).__name__}\nEach line is one object.")
        yield data, where


def _unpacked(path: Path) -> str:
    try:
        with gzip.open(path, "rb") as file:
            return file.read().decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: it cannot be unpacked: {error}\nFetch it again, or unpack it with gunzip.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: what is packed in it is not UTF-8, byte {error.start + 1}") from error
