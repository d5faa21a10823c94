"""Whether a fault was caught: its own cases failed, where it came into effect, for the reason that it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapter_conform.cases import Record
from adapter_conform.states import BAD, State

if TYPE_CHECKING:
    from adapter_conform.selftest.running import Result
    from adapter_faults import Fault

__all__ = ["FaultVerdict", "Selftest", "checks_of", "judge_fault"]

_MESSAGES = {
    "canary": "the kernel wrote out of bounds",
    "allocation": "the kernel never allocated its output",
}
"""Checks of the SDK, which the record has as an error from the call."""


def checks_of(record: Record) -> set[str]:
    """The checks that a record failed: gates, those of the SDK, ``check`` of the runtime suite, or the state itself."""
    if record.state is State.PASSED:
        return set()
    if record.state is not State.FAILED:
        return {"check"} if record.suite == "runtime" and record.state is State.FELL_BACK else {record.state.value}
    if record.suite == "runtime":
        return {"check"}
    gates = {figure.gate for figure in record.errors if not figure.passed}
    return gates or {name for name, words in _MESSAGES.items() if words in record.message} or {"error"}


@dataclass
class FaultVerdict:
    """What became of one fault over the seeds."""

    fault: Fault
    seeds: int = 0
    caught: int = 0
    """Seeds in which it was caught."""
    effective: int = 0
    """Cases in which it came into effect."""
    noticed: int = 0
    """Of these, cases that did not pass."""
    by: Counter[str] = field(default_factory=Counter)
    """Check -> cases in which it told of the fault."""
    misses: dict[int, str] = field(default_factory=dict)
    """Seed -> why the fault was not caught."""

    def to_json(self) -> dict[str, Any]:
        fault = self.fault
        return {
            "name": fault.name,
            "summary": fault.summary,
            "cases": fault.cases,
            "kernel": fault.kernel,
            "expected": list(fault.sees),
            "seeds": self.seeds,
            "caught": self.caught,
            "rate": self.caught / self.seeds if self.seeds else 0.0,
            "effective_cases": self.effective,
            "noticed_cases": self.noticed,
            "caught_by": dict(self.by.most_common()),
            "misses": {str(seed): why for seed, why in self.misses.items()},
        }


def judge_fault(verdict: FaultVerdict, seed: int, result: Result) -> None:
    """Adds what the run with ``seed`` says of the fault."""
    fault = verdict.fault
    own = [record for record in result.records if fault.concerns(record.id)]
    struck = result.planted.get(fault.name, set())
    effective = [record for record in own if record.id in struck]
    checks = {record.id: checks_of(record) for record in effective}
    verdict.seeds += 1
    verdict.effective += len(effective)
    verdict.noticed += sum(bool(found) for found in checks.values())
    telling = Counter(name for found in checks.values() for name in found if name in fault.sees)
    verdict.by += telling
    if fault.name in result.broken:
        verdict.misses[seed] = f"the fault itself broke down in {result.broken[fault.name]}"
    elif telling:
        verdict.caught += 1
    else:
        verdict.misses[seed] = _why_missed(own, effective, checks)


def _why_missed(own: Sequence[Record], effective: Sequence[Record], checks: dict[str, set[str]]) -> str:
    if not own:
        return "no case of this kernel was planned"
    if not effective:
        states = Counter(record.state.value for record in own)
        listed = ", ".join(f"{count} {state}" for state, count in states.items())
        return f"it never came into effect: no case of {len(own)} ({listed}) has what it takes"
    others = sorted({name for found in checks.values() for name in found})
    if others:
        return f"its cases failed for another reason: {', '.join(others)}"
    return f"it came into effect in {len(effective)} cases, and all of them passed"


@dataclass
class Selftest:
    """The whole result."""

    plugin: str
    seeds: list[int]
    verdicts: list[FaultVerdict]
    healthy_cases: int = 0
    """Executed on the healthy device, over all seeds."""
    false_alarms: list[dict[str, Any]] = field(default_factory=list)
    suites: tuple[str, ...] = ()
    """Of the healthy runs."""
    elapsed_s: float = 0.0

    def add_healthy(self, seed: int, records: Sequence[Record]) -> None:
        for record in records:
            self.healthy_cases += record.state not in (State.UNSUPPORTED, State.NOT_RUN)
            if record.state in (*BAD, State.VACUOUS):
                alarm = {"seed": seed, "id": record.id, "state": record.state.value, "message": record.message}
                self.false_alarms.append(alarm)

    @property
    def caught(self) -> int:
        """Faults caught with every seed."""
        return sum(verdict.seeds > 0 and verdict.caught == verdict.seeds for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": 1,
            "plugin": self.plugin,
            "profile": "standard",
            "seeds": self.seeds,
            "faults": len(self.verdicts),
            "caught": self.caught,
            "false_alarms": len(self.false_alarms),
            "healthy_cases": self.healthy_cases,
            "healthy_suites": list(self.suites),
            "elapsed_s": round(self.elapsed_s, 1),
            "table": [verdict.to_json() for verdict in self.verdicts],
            "alarms": self.false_alarms,
        }
