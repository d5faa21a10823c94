"""All runs of a selftest, seed by seed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from adapter_conform.jsondata import compact
from adapter_conform.selftest.rounds import expression, rounds
from adapter_conform.selftest.running import Planned, run
from adapter_conform.selftest.store import Store
from adapter_conform.selftest.verdict import FaultVerdict, Selftest, control, sighting

if TYPE_CHECKING:
    from adapter_faults import Fault

__all__ = ["Campaign"]

EVERYTHING = ("ops", "runtime")
"""Suites of the healthy device."""


@dataclass
class Campaign:
    """Plants ``faults`` in ``plugin`` under each of ``seeds``; results go to ``out``.

    ``healthy`` says on what the device without faults is run: ``"all"`` operators and the runtime, the cases
    ``"concerned"`` by the faults, or ``"none"``.
    """

    plugin: str
    faults: Sequence[Fault]
    seeds: Sequence[int]
    out: Path
    jobs: int
    resume: bool
    healthy: str
    console: Console
    _clock: float = field(default_factory=time.monotonic, init=False)

    def run(self) -> Selftest:
        """Makes the runs that are missing, and keeps ``selftest.json`` up to date after each seed.

        Raises:
            ConformError: a run came to no end; what was found before is kept.
        """
        suites = EVERYTHING if self.healthy == "all" else _suites(self.faults)
        selftest = Selftest(self.plugin, self.seeds, [FaultVerdict(fault) for fault in self.faults], suites)
        for seed in self.seeds:
            store = Store(self.out, seed, self.plugin, self.resume)
            self._plant(seed, store)
            for verdict in selftest.verdicts:
                found = store.sighting(verdict.fault.name)
                assert found is not None
                verdict.sightings[seed] = found
            if self.healthy != "none":
                self._control(seed, store, selftest)
            (self.out / "selftest.json").write_text(compact(selftest.to_json()) + "\n")
        return selftest

    def _plant(self, seed: int, store: Store) -> None:
        missing = [fault for fault in self.faults if store.sighting(fault.name) is None]
        for number, members in enumerate(rounds(missing), start=1):
            folder = _fresh(store.folder / "faults")
            planned = Planned(
                folder, self.plugin, seed, self.jobs, _suites(members), expression(members), tuple(members)
            )
            result = run(planned)
            found = {fault.name: sighting(fault, result) for fault in members}
            for name, item in found.items():
                store.keep_sighting(name, item)
            caught = sum(item.miss is None for item in found.values())
            self._say(f"seed {seed}, round {number}: {caught} of {len(members)} faults caught")

    def _control(self, seed: int, store: Store, selftest: Selftest) -> None:
        cases = None if self.healthy == "all" else expression(self.faults)
        found = store.control(cases or "all")
        if found is None:
            folder = _fresh(store.folder / "healthy")
            found = control(run(Planned(folder, self.plugin, seed, self.jobs, selftest.suites, cases)))
            store.keep_control(cases or "all", found)
            self._say(f"seed {seed}, healthy device: {len(found.alarms)} false alarms in {found.cases} cases")
        selftest.controls[seed] = found

    def _say(self, line: str) -> None:
        self.console.print(Text(f"{time.monotonic() - self._clock:6.0f} s  {line}"), soft_wrap=True)


def _suites(faults: Sequence[Fault]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fault.suite for fault in faults))


def _fresh(parent: Path) -> Path:
    """The next numbered folder in ``parent``."""
    taken = [int(path.name) for path in parent.glob("*") if path.name.isdigit()]
    folder = parent / str(max(taken, default=0) + 1)
    folder.mkdir(parents=True)
    return folder
