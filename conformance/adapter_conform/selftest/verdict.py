"""Whether a fault was caught: its own cases failed, where it came into effect, for the reason that it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from adapter_conform.cases import Record
from adapter_conform.states import BAD, State

if TYPE_CHECKING:
    from adapter_faults import Fault

    from adapter_conform.selftest.running import Result

__all__ = ["Control", "FaultVerdict", "Selftest", "Sighting", "checks_of", "control", "sighting"]

_MESSAGES = {
    "canary": "the kernel wrote out of bounds",
    "allocation": "the kernel never allocated its output",
}
"""Checks of the SDK, which the record has as an error from the call."""


def checks_of(record: Record) -> set[str]:
    """The checks that a record failed: gates, those of the SDK, ``check`` of the runtime suite, or the state itself; of
    one that passed ``notice``, where it tells of something that is allowed."""
    if record.state is State.PASSED:
        return {"notice"} if record.details.get("notices") else set()
    if record.suite == "runtime" and record.state in (State.FAILED, State.FELL_BACK):
        return {"check"}
    if record.state is not State.FAILED:
        return {record.state.value}
    gates = {figure.gate for figure in record.errors if not figure.passed}
    return gates or {name for name, words in _MESSAGES.items() if words in record.message} or {"error"}


@dataclass
class Sighting:
    """What one seed says of one fault."""

    effective: int = 0
    """Cases in which it came into effect."""
    noticed: int = 0
    """Of these, cases that did not pass."""
    by: dict[str, int] = field(default_factory=dict)
    """Check, of those that were to tell of the fault -> cases in which it did."""
    miss: str | None = None
    """Why the fault was not caught; None when it was."""


def sighting(fault: Fault, result: Result) -> Sighting:
    """Judges what a run with ``fault`` planted gave."""
    own = [record for record in result.records if fault.concerns(record.id)]
    struck = result.planted.get(fault.name, set())
    checks = {record.id: checks_of(record) for record in own if record.id in struck}
    telling = Counter(name for found in checks.values() for name in found if name in fault.sees)
    noticed = sum(bool(found) for found in checks.values())
    miss = None
    if fault.name in result.broken:
        miss = f"the fault itself broke down in {result.broken[fault.name]}"
    elif not telling:
        miss = _why_missed(own, checks)
    return Sighting(len(checks), noticed, dict(telling), miss)


def _why_missed(own: Sequence[Record], checks: Mapping[str, set[str]]) -> str:
    if not own:
        return "no case of this kernel was planned"
    if not checks:
        states = Counter(record.state.value for record in own)
        listed = ", ".join(f"{count} {state}" for state, count in states.items())
        return f"it never came into effect: no case of {len(own)} ({listed}) has what it takes"
    others = sorted({name for found in checks.values() for name in found})
    if others:
        return f"its cases failed for another reason: {', '.join(others)}"
    return f"it came into effect in {len(checks)} cases, and all of them passed"


@dataclass
class Control:
    """What one seed says of the healthy device."""

    cases: int = 0
    """Executed."""
    alarms: dict[str, str] = field(default_factory=dict)
    """Case that did not pass -> how it ended, and why."""


def control(result: Result) -> Control:
    executed = [record for record in result.records if record.state not in (State.UNSUPPORTED, State.NOT_RUN)]
    wrong = [record for record in executed if record.state in (*BAD, State.VACUOUS)]
    return Control(len(executed), {record.id: f"{record.state.value}: {record.message}" for record in wrong})


@dataclass
class FaultVerdict:
    """What became of one fault over the seeds."""

    fault: Fault
    sightings: dict[int, Sighting] = field(default_factory=dict)

    @property
    def seeds(self) -> int:
        return len(self.sightings)

    @property
    def caught(self) -> int:
        """Seeds in which it was caught."""
        return sum(item.miss is None for item in self.sightings.values())

    @property
    def effective(self) -> int:
        return sum(item.effective for item in self.sightings.values())

    @property
    def noticed(self) -> int:
        return sum(item.noticed for item in self.sightings.values())

    @property
    def by(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for item in self.sightings.values():
            total.update(item.by)
        return total

    @property
    def misses(self) -> dict[int, str]:
        """Seed -> why the fault was not caught."""
        return {seed: item.miss for seed, item in self.sightings.items() if item.miss is not None}

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


@dataclass
class Selftest:
    """The whole result."""

    plugin: str
    seeds: Sequence[int]
    verdicts: Sequence[FaultVerdict]
    suites: tuple[str, ...]
    """Of the runs on the healthy device."""
    controls: dict[int, Control] = field(default_factory=dict)

    @property
    def caught(self) -> int:
        """Faults caught with every seed."""
        return sum(verdict.caught == len(self.seeds) for verdict in self.verdicts)

    @property
    def healthy_cases(self) -> int:
        return sum(item.cases for item in self.controls.values())

    @property
    def false_alarms(self) -> int:
        return sum(len(item.alarms) for item in self.controls.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "format": 1,
            "plugin": self.plugin,
            "profile": "standard",
            "seeds": list(self.seeds),
            "faults": len(self.verdicts),
            "caught": self.caught,
            "false_alarms": self.false_alarms,
            "healthy": {"suites": list(self.suites), "cases": self.healthy_cases, "seeds": list(self.controls)},
            "table": [verdict.to_json() for verdict in self.verdicts],
            "alarms": {str(seed): asdict(item)["alarms"] for seed, item in self.controls.items() if item.alarms},
        }
