"""Paddle versions and the specifiers that plugins declare, e.g. ``">=3.0,<3.4"``. Nothing here imports Paddle."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import operator
import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["SUPPORTED_PADDLE", "check_specifier", "installed_paddle", "matches"]

SUPPORTED_PADDLE = ">=3.0,<3.4"
"""Paddle releases whose binary interface the SDK's headers know."""

_CLAUSE = re.compile(r"(>=|<=|==|!=|<|>)\s*(\d+(?:\.\d+)*)(\.\*)?")
_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)(.*)")
_PRERELEASE = re.compile(r"[-_.]?(a|b|c|rc|alpha|beta|pre|preview|dev)", re.IGNORECASE)
_DISTRIBUTIONS = ("paddlepaddle", "paddlepaddle-gpu")

_Key = tuple[tuple[int, ...], int]
_COMPARE: dict[str, Callable[[_Key, _Key], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


def matches(version: str, specifier: str) -> bool:
    """Whether ``version`` ("3.3.1", "3.4.0rc1") satisfies every clause of ``specifier``.

    Understands the part of PEP 440 that release ranges need: ``>= <= > < == !=`` on dotted numbers, and ``== !=`` with
    a trailing ``.*``. A pre-release sorts before its release, and is outside ``<`` of that very release.

    Raises:
        ValueError: one of the two cannot be read.
    """
    key = _key(version)
    return all(_holds(key, *clause) for clause in _clauses(specifier))


def check_specifier(specifier: str) -> None:
    """Raises ValueError, naming the clause, unless :func:`matches` understands ``specifier``."""
    _clauses(specifier)


def installed_paddle() -> str | None:
    """Version of the Paddle that ``import paddle`` would give, found without importing it; None when there is none."""
    spec = importlib.util.find_spec("paddle")
    if spec is None:
        return None
    for folder in spec.submodule_search_locations or ():
        version = _read_version(Path(folder) / "version" / "__init__.py")
        if version is not None:
            return version
    for distribution in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _read_version(path: Path) -> str | None:
    if not path.is_file():
        return None
    found = re.search(r"^full_version\s*=\s*['\"]([^'\"]+)['\"]", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1) if found else None


def _key(version: str) -> _Key:
    found = _VERSION.fullmatch(version.strip())
    if found is None:
        raise ValueError(f"{version!r} is not a version: expected dotted numbers, e.g. '3.3.1'")
    numbers, rest = found.groups()
    return _release(numbers), -1 if _PRERELEASE.match(rest) else 0


def _release(numbers: str) -> tuple[int, ...]:
    parts = [int(part) for part in numbers.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _clauses(specifier: str) -> list[tuple[str, str, bool]]:
    clauses = []
    for text in specifier.split(","):
        found = _CLAUSE.fullmatch(text.strip())
        if found is None or (found.group(3) and found.group(1) not in ("==", "!=")):
            raise ValueError(
                f"{text.strip()!r} in {specifier!r} is not a clause: expected one of >= <= > < == != and dotted "
                "numbers, e.g. '>=3.0,<3.4' or '==3.3.*'"
            )
        clauses.append((found.group(1), found.group(2), bool(found.group(3))))
    return clauses


def _holds(version: _Key, comparison: str, numbers: str, is_prefix: bool) -> bool:
    if is_prefix:
        prefix = tuple(int(part) for part in numbers.split("."))
        padded = version[0] + (0,) * len(prefix)
        return (padded[: len(prefix)] == prefix) == (comparison == "==")
    bound = _release(numbers)
    if comparison == "<" and version[0] == bound:
        return False
    return _COMPARE[comparison](version, (bound, 0))
