"""Stretches of time as users write them."""

from __future__ import annotations

import math
import re

__all__ = ["parse_duration"]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """Seconds in ``"90"``, ``"90s"``, ``"1.5h"`` or ``"1h30m"``.

    Raises:
        ValueError: it is no such stretch, or it is not longer than nothing.
    """
    words = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?|\.\d+)([smhd]?)", words)
    if not parts or "".join(number + unit for number, unit in parts) != words:
        raise ValueError(f"{text!r} is no stretch of time; write seconds, or e.g. 90s, 20m, 1.5h, 1h30m")
    if len(parts) > 1 and not all(unit for _, unit in parts):
        raise ValueError(f"{text!r} lacks a unit; write e.g. 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < seconds < math.inf:
        raise ValueError(f"{text!r} is no time at all")
    return seconds
