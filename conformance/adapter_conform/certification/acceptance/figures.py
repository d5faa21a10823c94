"""How a rule says what it found: a :class:`GateFigure` that passed, failed, proves nothing, or only informs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from adapter_conform.cases import GateFigure
from adapter_conform.states import State

__all__ = ["at_most", "fulfilled", "inconclusive", "information", "is_inconclusive", "state_of"]

_OPEN = "inconclusive: "


def at_most(gate: str, output: str, value: float, limit: float, note: str = "") -> GateFigure:
    """Passed when ``value <= limit``; NaN counts as infinite."""
    value = math.inf if math.isnan(value) else float(value)
    return GateFigure(gate, output, value, float(limit), value <= limit, note)


def fulfilled(gate: str, output: str, fault: str, note: str = "") -> GateFigure:
    """A yes/no rule: ``fault`` says what is wrong; empty where nothing is."""
    return GateFigure(gate, output, 1.0 if fault else 0.0, 0.0, not fault, fault or note)


def inconclusive(gate: str, output: str, why: str, value: float = math.inf, limit: float = 0.0) -> GateFigure:
    """Neither shown to be right nor shown to be wrong."""
    return GateFigure(gate, output, float(value), float(limit), False, _OPEN + why)


def information(gate: str, output: str, value: float, note: str = "") -> GateFigure:
    """Judged by nobody: no limit."""
    return GateFigure(gate, output, float(value), math.inf, True, note)


def is_inconclusive(figure: GateFigure) -> bool:
    return not figure.passed and figure.note.startswith(_OPEN)


def state_of(figures: Iterable[GateFigure]) -> State:
    """Of a case with these figures: FAILED where one failed, VACUOUS where one proves nothing or there is none."""
    seen = list(figures)
    if any(not figure.passed and not is_inconclusive(figure) for figure in seen):
        return State.FAILED
    if not seen or any(not figure.passed for figure in seen):
        return State.VACUOUS
    return State.PASSED
