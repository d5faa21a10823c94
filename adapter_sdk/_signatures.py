"""Kernel signatures of the known Paddle releases, read from the table that the SDK's native layer is compiled with."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

__all__ = ["Release", "find_signature", "known_releases", "operators"]

Release = tuple[int, int, int]
_ROW = re.compile(r'^\{"(?P<operator>\w+)", (?P<first>\d+), (?:"(?P<signature>[^"]*)"|nullptr)\},$')
_RELEASES = re.compile(r"kVersions\[\] = \{(.*)\};")


def known_releases() -> tuple[Release, ...]:
    """In ascending order, e.g. ``((3, 0, 0), ...)``."""
    return _table()[0]


def operators() -> tuple[str, ...]:
    """Every operator that some known release has a kernel of."""
    return tuple(_table()[1])


def find_signature(release: Release, operator: str) -> str | None:
    """How this release calls ``operator`` on a custom device, or None when it has no such kernel.

    ``DataType`` reads ``DType``, as plugins write it.

    Raises:
        ValueError: the release is not known.
    """
    releases, rows = _table()
    place = releases.index(release)
    found: str | None = None
    for first, signature in rows.get(operator, ()):
        if first <= place:
            found = signature
    return found


@cache
def _table() -> tuple[tuple[Release, ...], dict[str, list[tuple[int, str | None]]]]:
    text = _file().read_text(encoding="utf-8")
    named = _RELEASES.search(text)
    if named is None:
        raise ValueError(f"{_file()} names no releases")
    releases = tuple(_release(part) for part in re.findall(r"\{([^{}]*)\}", named[1]))
    rows: dict[str, list[tuple[int, str | None]]] = {}
    for line in text.splitlines():
        if row := _ROW.match(line):
            signature = row["signature"]
            words = None if signature is None else signature.replace("DataType", "DType")
            rows.setdefault(row["operator"], []).append((int(row["first"]), words))
    return releases, rows


def _release(text: str) -> Release:
    major, minor, patch = (int(number) for number in text.split(","))
    return major, minor, patch


def _file() -> Path:
    here = Path(__file__).resolve().parent
    for folder in (here / "src", here.parent / "csrc"):  # installed; a checkout
        if (folder / "abi" / "signatures_table.inc").is_file():
            return folder / "abi" / "signatures_table.inc"
    raise FileNotFoundError(f"{here / 'src' / 'abi' / 'signatures_table.inc'} is missing; reinstall adapter-sdk")
