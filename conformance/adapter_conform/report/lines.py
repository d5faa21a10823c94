"""Line numbers in few words."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["abbreviated"]


def abbreviated(lines: Iterable[int], most: int = 12) -> str:
    """Line numbers as runs in order, at most ``most`` of them, e.g. ``"3, 5-9, 12 and 40 more"``.

    What is left out is counted in lines, not in runs.
    """
    numbers = sorted(set(lines))
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    shown = runs[:most]
    left = len(numbers) - sum(last - first + 1 for first, last in shown)
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in shown)
    return f"{text} and {left} more" if left else text
