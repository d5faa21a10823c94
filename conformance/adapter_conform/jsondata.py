"""Turns what suites and plugins hand over into data that strict JSON can hold."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["compact", "jsonable"]


def jsonable(value: Any) -> Any:
    """``value`` as JSON data: dataclasses become dicts, arrays lists, NaN and infinities the strings JSON lacks.

    Raises:
        TypeError: the value has no JSON form; the message names its type.
    """
    if isinstance(value, Enum):  # before str and int: a str enum is both
        return jsonable(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(jsonable(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item) for item in value), key=str)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return jsonable(value.tolist())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__} has no JSON form")


def compact(data: Any) -> str:
    """One line of strict JSON."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
