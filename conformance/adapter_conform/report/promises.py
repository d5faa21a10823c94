"""Which callbacks and promises of the contract a run showed to hold, and which it left open, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapter_conform.cases import Record
from adapter_conform.runtime import CHECKS
from adapter_conform.runtime.slots import PROMISES, SLOTS, home_of
from adapter_conform.states import State

__all__ = ["Notice", "PromiseRow", "in_json", "notices", "promise_rows", "sentence"]


@dataclass(frozen=True)
class Notice:
    """What is allowed, and worth knowing."""

    case_id: str
    text: str


@dataclass(frozen=True)
class PromiseRow:
    """A callback that Paddle was given, or a promise beyond single callbacks."""

    name: str
    is_callback: bool
    cases: tuple[tuple[str, State], ...]
    """Cases of this run that are about it, and how they ended."""
    remark: str
    """What else covers it, or why nothing does; empty where the cases speak for it."""

    @property
    def shown(self) -> bool:
        return any(state is State.PASSED for _, state in self.cases)

    @property
    def broken(self) -> bool:
        return any(state in (State.FAILED, State.FELL_BACK, State.CRASHED, State.HUNG) for _, state in self.cases)


def notices(records: Sequence[Record]) -> list[Notice]:
    return [Notice(record.id, str(text)) for record in records for text in record.details.get("notices", ())]


def promise_rows(records: Sequence[Record]) -> list[PromiseRow]:
    """Every callback of this plugin's interface and every promise; none where the suite runtime was not run."""
    covering: dict[str, list[tuple[str, State]]] = defaultdict(list)
    runtime = [record for record in records if record.suite == "runtime"]
    if not runtime:
        return []
    for record in runtime:
        for name in record.details.get("covers", ()):
            covering[name].append((record.id, record.state))
    slots = _slots(runtime)
    for name in SLOTS:
        if slots and not slots.get(name, False):
            covering[name] = []  # of what is not there nothing was shown
    rows = [
        PromiseRow(name, True, tuple(covering[name]), _remark(name, bool(covering[name]), slots))
        for name in dict.fromkeys((*SLOTS, *slots))
    ]
    return rows + [
        PromiseRow(name, False, tuple(covering[name]), "" if covering[name] else "no case of it was run")
        for name in PROMISES
    ]


def _slots(records: Sequence[Record]) -> dict[str, bool]:
    """Slot -> whether Paddle was given something in it, where a case has looked."""
    found = next((record.details["slots"] for record in records if "slots" in record.details), None)
    if found is None:
        return {}
    given = dict.fromkeys(found["filled"], True)
    return given | {name: False for name in found["empty"] if name in SLOTS}


def _remark(name: str, has_cases: bool, slots: dict[str, bool]) -> str:
    if slots and not slots.get(name, False):
        return "the plugin leaves it empty" if name in slots else "this Paddle has no such callback"
    if (home := home_of(name)) and not has_cases:
        return home
    return "" if has_cases else _why_not_run(name)


def _why_not_run(name: str) -> str:
    about = [check.id for check in CHECKS.values() if name in check.covers]
    return f"not run: runtime/{', runtime/'.join(about)}" if about else "not covered"


def sentence(rows: Sequence[PromiseRow]) -> str:
    """For the terminal: how many callbacks and promises were shown to hold."""
    open_ones = [row.name for row in rows if not row.shown and not row.remark]
    left = f"; not shown: {', '.join(open_ones)}" if open_ones else ""
    elsewhere = sum(not row.shown and bool(row.remark) for row in rows)
    shown = sum(row.shown for row in rows)
    return f"contract: {shown} of {len(rows)} callbacks and promises shown, {elsewhere} elsewhere or not there{left}"


def in_json(rows: Sequence[PromiseRow]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "callback": row.is_callback,
            "shown": row.shown,
            "broken": row.broken,
            "cases": [case_id for case_id, _ in row.cases],
            "remark": row.remark,
        }
        for row in rows
    ]
